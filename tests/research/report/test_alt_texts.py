"""Alternative texts of figures have the numbers that matter."""

from __future__ import annotations

import math

import numpy as np

from research.report.alt_texts import MAX_DESCRIBED, describe_curves, describe_predictions, list_items
from research.report.mistakes import LabelledPredictions
from research.tasks.regression import Regression
from research.tasks.single_label import SingleLabel


def test_curves_have_first_last_lowest_and_highest_values() -> None:
    text = describe_curves({"loss": ([1, 2, 3], [0.75, 0.25, math.nan]), "other": ([1], [math.inf])})
    assert text == "loss: 0.75 at step 1, 0.25 at step 2, lowest 0.25, highest 0.75; other: no finite value"


def test_long_lists_are_cut_and_the_rest_is_counted() -> None:
    text = list_items([f"item {index}" for index in range(MAX_DESCRIBED + 2)])
    assert text.endswith(f"item {MAX_DESCRIBED - 1}; and 2 more")


def test_predictions_have_the_share_of_found_rows_or_the_mean_distance() -> None:
    labels, predicted = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    predictions = LabelledPredictions(np.arange(4), labels, predicted, np.zeros((4, 2)))
    assert (
        describe_predictions(SingleLabel(("a", "b")), predictions) == "a: 67% of 3 rows found; b: 100% of 1 rows found"
    )
    scores = LabelledPredictions(np.arange(2), np.array([1.0, 2.0]), np.array([1.5, 2.0]), np.zeros((2, 1)))
    assert "2 rows" in describe_predictions(Regression(("score",)), scores)
    assert "0.25" in describe_predictions(Regression(("score",)), scores)

"""Precision, recall and F1 of labels."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics

from research.tasks.label_counts import LabelCounts


@pytest.mark.parametrize("labels_per_row", ["one", "several"])
def test_label_counts_match_scikit_learn(labels_per_row: str) -> None:
    generator = np.random.default_rng(0)
    if labels_per_row == "one":
        labels, predicted = generator.integers(0, 50, size=(2, 90))
    else:
        labels, predicted = (generator.random((2, 90, 50)) < 0.05).astype(int)
    counts = LabelCounts.of(labels, predicted, num_labels=50)
    expected = sklearn.metrics.precision_recall_fscore_support(labels, predicted, labels=range(50), zero_division=0.0)
    results = (counts.precision, counts.recall, counts.f1, counts.present)
    for result, expected_result in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, expected_result, rtol=1e-12)


def test_label_counts_ignore_label_codes_without_an_output() -> None:
    counts = LabelCounts.of(np.array([0, 1, 2]), np.array([0, 0, 1]), num_labels=2)
    assert [counts.correct.tolist(), counts.predicted.tolist(), counts.present.tolist()] == [[1, 0], [2, 1], [1, 1]]

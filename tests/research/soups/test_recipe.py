"""Averages of weights, with results computed by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from research.soups.recipe import Weights, add_to_average, make_soup

WEIGHTS = {"a": [1.0, 3.0], "b": [3.0, 1.0], "c": [9.0, -9.0]}
"""Weights of three models. The average of the first two is the best: (2, 2)."""


def read_weights(name: str) -> Weights:
    return {"weight": torch.tensor(WEIGHTS[name]), "positions": torch.arange(2)}


def distance_to_best(weights: Weights) -> float:
    """Return a metric that is better if lower: the distance from (2, 2), as by the metric log_loss."""
    return float((weights["weight"] - 2).norm())


def closeness_to_best(weights: Weights) -> float:
    """Return a metric that is better if higher."""
    return -distance_to_best(weights)


def as_rows(soup: Any) -> list[tuple[str, bool]]:
    return [(item.name, item.kept) for item in soup.tried]


@pytest.mark.parametrize(("metric", "evaluate"), [("accuracy", closeness_to_best), ("log_loss", distance_to_best)])
def test_greedy_soup_rejects_a_model_that_makes_the_average_worse(metric: str, evaluate: Any) -> None:
    soup = make_soup(["c", "b", "a"], read_weights, evaluate, metric)
    # b and a are equally good alone, so they keep the given order; c is the worst.
    assert as_rows(soup) == [("b", True), ("a", True), ("c", False)]
    assert soup.weights["weight"].tolist() == [2.0, 2.0]
    assert [abs(item.value_with_it) for item in soup.tried] == pytest.approx(
        [math.sqrt(2), 0.0, math.hypot(13 / 3 - 2, -5 / 3 - 2)]
    )
    assert [abs(item.value) for item in soup.tried] == pytest.approx([math.sqrt(2)] * 2 + [math.hypot(7, -11)])


def test_uniform_soup_is_the_mean_of_all_models() -> None:
    soup = make_soup(["a", "b", "c"], read_weights, closeness_to_best, "accuracy", uniform=True)
    assert as_rows(soup) == [("a", True), ("b", True), ("c", True)]
    torch.testing.assert_close(soup.weights["weight"], torch.tensor([13 / 3, -5 / 3]))


def test_greedy_soup_keeps_a_model_that_leaves_the_metric_unchanged() -> None:
    soup = make_soup(["a", "b"], read_weights, lambda weights: 0.5, "accuracy")
    assert as_rows(soup) == [("a", True), ("b", True)]


def test_model_without_a_defined_metric_comes_last_and_is_rejected() -> None:
    values: Mapping[float, float] = {1.0: math.nan, 3.0: 0.5, 2.0: math.nan}  # by the first weight: a, b, both
    soup = make_soup(["a", "b"], read_weights, lambda weights: values[float(weights["weight"][0])], "accuracy")
    assert as_rows(soup) == [("b", True), ("a", False)]
    assert soup.weights["weight"].tolist() == WEIGHTS["b"]


def test_metric_that_is_never_defined_is_refused() -> None:
    with pytest.raises(ValueError, match=r"auroc .*not defined"):
        make_soup(["a", "b"], read_weights, lambda weights: math.nan, "auroc")


def test_average_of_equal_weights_has_the_same_bits() -> None:
    weights = {"weight": torch.randn(1000, generator=torch.Generator().manual_seed(0))}
    average: Weights = weights
    for number in range(1, 6):
        average = add_to_average(average, weights, number)
    assert torch.equal(average["weight"], weights["weight"])


def test_integers_are_not_averaged() -> None:
    average = add_to_average({"positions": torch.tensor([1, 2])}, {"positions": torch.tensor([3, 4])}, 1)
    assert average["positions"].tolist() == [1, 2]

"""The expected best of n configurations agrees with a calculation by hand and with all possible draws."""

from __future__ import annotations

import itertools
import statistics

import pytest

from research.studies.statistics.expected_best import expected_best


def test_expected_best_of_two_values() -> None:
    # Of the four possible pairs, three contain 0.8.
    assert expected_best([0.8, 0.4]) == pytest.approx([0.6, 0.75 * 0.8 + 0.25 * 0.4])


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_expected_best_is_the_mean_over_all_draws(higher_is_better: bool) -> None:
    values = [0.3, 0.9, 0.5, 0.5]
    choose = max if higher_is_better else min
    by_draws = [
        statistics.fmean(choose(draw) for draw in itertools.product(values, repeat=num_drawn))
        for num_drawn in range(1, 5)
    ]
    assert expected_best(values, higher_is_better=higher_is_better) == pytest.approx(by_draws)

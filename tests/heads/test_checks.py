"""Checks that heads make of their options."""

from __future__ import annotations

import pytest

from heads.checks import require_divisor, require_one_of, require_positive, require_probability


def test_checks_accept_values_within_bounds() -> None:
    require_positive(num_layers=1, lstm_size=2)
    require_probability(dropout=0.0, input_dropout=0.999)
    require_divisor(12, num_heads=12, num_groups=1)
    require_one_of(("last", "mean"), pooling="mean", default_pooling="last")


@pytest.mark.parametrize("size", [0, -3])
def test_error_of_require_positive_contains_the_option_and_its_value(size: int) -> None:
    with pytest.raises(ValueError, match=rf"num_layers .*1.* {size}\.$"):
        require_positive(lstm_size=4, num_layers=size)


@pytest.mark.parametrize("probability", [1.0, -0.1, float("nan")])
def test_error_of_require_probability_contains_the_option_and_its_value(probability: float) -> None:
    with pytest.raises(ValueError, match=rf"dropout .*0.*1.* {probability}\.$"):
        require_probability(input_dropout=0.5, dropout=probability)


def test_error_of_require_divisor_contains_the_option_and_both_numbers() -> None:
    with pytest.raises(ValueError, match=r"num_heads .*12.* 5\.$"):
        require_divisor(12, num_groups=4, num_heads=5)


def test_error_of_require_one_of_contains_the_option_its_choices_and_its_value() -> None:
    with pytest.raises(ValueError, match=r"pooling .*last, mean.*'median'\.$"):
        require_one_of(("last", "mean"), pooling="median")

"""Numbers in a study's report have readable formats, with equal decimals down a column."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from research.studies.report.notation import (
    column_decimals,
    format_amount,
    format_decimal,
    format_hours,
    format_interval,
    format_p_value,
    format_sort_key,
    format_thousands,
    seconds_decimals,
)


@pytest.mark.parametrize(
    ("values", "decimals"),
    [
        ([0.5, 0.00012], 4),
        ([0.02, -0.4, None, math.nan, math.inf], 4),
        ([0.0012, -0.00052], 5),
        ([0.0], 4),
        ([], 4),
        ([9999.0], 4),
        ([12345.6, 0.5], 0),
    ],
)
def test_column_decimals_leave_three_digits_of_the_largest_value(values: Sequence[float | None], decimals: int) -> None:
    assert column_decimals(values) == decimals


def test_numbers_of_a_column_have_equal_decimals() -> None:
    assert [format_decimal(value, 4) for value in (0.5, 0.0, 0.00012, None, math.nan)] == [
        *("0.5000", "0.0000", "0.0001", "-", "-")
    ]
    assert [format_decimal(value, 4, signed=True) for value in (0.25, -0.25)] == ["+0.2500", "-0.2500"]
    assert format_interval((-0.1, 0.2), 2, signed=True) == "-0.10 to +0.20"
    assert format_interval(None) == "-"


@pytest.mark.parametrize("value", [0.0, -0.0, 0.00001, -0.00001])
def test_numbers_that_are_rounded_to_zero_have_no_sign(value: float) -> None:
    assert format_decimal(value) == "0.0000"
    assert format_decimal(value, signed=True) == "0.0000"
    assert format_interval((value, 0.5), signed=True) == "0.0000 to +0.5000"


@pytest.mark.parametrize(
    ("value", "text"), [(0.0501, "0.0501"), (0.5, "0.5000"), (1.0, "1.0000"), (0.00001, "< 0.0001"), (None, "-")]
)
def test_p_values_are_not_rounded_across_the_significance_level(value: float | None, text: str) -> None:
    assert format_p_value(value) == text


def test_sort_keys_are_exact() -> None:
    assert [format_sort_key(value) for value in (1 / 3, None, math.nan)] == [repr(1 / 3), "", ""]


def test_thousands_and_times_are_rounded() -> None:
    assert (format_thousands(1234.4), format_thousands(None)) == ("1,234", "-")
    assert [seconds_decimals(values) for values in ([69.7, 1.64], [0.123], [1234.5, 120.0], [1e-9], [0.0])] == [
        *(1, 2, 0, 3, 1)
    ]
    assert [format_hours(value) for value in (0.01234, 1.234, 123.4, 1234.0, 0.0)] == [
        "0.0123",
        "1.23",
        "123",
        "1,234",
        "0",
    ]
    assert (format_amount(1234.56, 1), format_amount(0.5, 0)) == ("1,234.6", "0")

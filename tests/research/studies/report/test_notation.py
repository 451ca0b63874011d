"""Numbers in a study's report have readable formats."""

from __future__ import annotations

import pytest

from research.studies.report.notation import (
    format_decimal,
    format_interval,
    format_p_value,
    format_seconds,
    format_thousands,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.5000"), (0.0, "0.0000"), (0.00012, "0.00012"), (123456.0, "1.23e+05"), (None, "-"), (float("nan"), "-")],
)
def test_decimals_are_readable_at_any_magnitude(value: float | None, text: str) -> None:
    assert format_decimal(value) == text


def test_decimal_and_interval_show_signs() -> None:
    assert format_decimal(0.25, signed=True) == "+0.2500"
    assert format_interval((-0.1, 0.2), signed=True) == "-0.1000 to +0.2000"
    assert format_interval(None) == "-"


@pytest.mark.parametrize(
    ("value", "text"), [(0.0501, "0.0501"), (0.5, "0.500"), (1.0, "1.000"), (0.00001, "< 0.0001"), (None, "-")]
)
def test_p_values_are_not_rounded_across_the_significance_level(value: float | None, text: str) -> None:
    assert format_p_value(value) == text


def test_thousands_and_seconds_are_rounded() -> None:
    assert (format_thousands(1234.4), format_thousands(None)) == ("1,234", "-")
    assert (format_seconds(0.1234), format_seconds(12.34), format_seconds(1234.5)) == ("0.123", "12.3", "1,234")

"""Numbers in a study's report have readable formats."""

from __future__ import annotations

import pytest

from research.studies.report.notation import count, decimal, interval, p_value, seconds


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.5000"), (0.0, "0.0000"), (0.00012, "0.00012"), (123456.0, "1.23e+05"), (None, "-"), (float("nan"), "-")],
)
def test_decimal_formats_value(value: float | None, text: str) -> None:
    assert decimal(value) == text


def test_decimal_and_interval_show_signs() -> None:
    assert decimal(0.25, signed=True) == "+0.2500"
    assert interval((-0.1, 0.2), signed=True) == "-0.1000 to +0.2000"
    assert interval(None) == "-"


@pytest.mark.parametrize(
    ("value", "text"), [(0.0501, "0.0501"), (0.5, "0.500"), (1.0, "1.000"), (0.00001, "< 0.0001"), (None, "-")]
)
def test_p_values_are_not_rounded_across_the_significance_level(value: float | None, text: str) -> None:
    assert p_value(value) == text


def test_count_and_seconds_format_values() -> None:
    assert (count(1234.4), count(None)) == ("1,234", "-")
    assert (seconds(0.1234), seconds(12.34), seconds(1234.5)) == ("0.123", "12.3", "1,234")

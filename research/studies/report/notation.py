"""Number formats of a study's report."""

from __future__ import annotations

import math


def format_decimal(value: float | None, *, signed: bool = False) -> str:
    """Format a number with four decimals, or with three significant digits if it is very small or large.

    None and NaN are shown as a dash.
    """
    if value is None or math.isnan(value):
        return "-"
    sign = "+" if signed else ""
    is_plain = value == 0 or 0.001 <= abs(value) < 10_000
    return f"{value:{sign}.4f}" if is_plain else f"{value:{sign}.3g}"


def format_interval(bounds: tuple[float, float] | None, *, signed: bool = False) -> str:
    """Format an interval; None is shown as a dash."""
    return "-" if bounds is None else " to ".join(format_decimal(bound, signed=signed) for bound in bounds)


def format_p_value(value: float | None) -> str:
    """Format a p value; None is shown as a dash.

    Below 0.1, there are four decimals, so that 0.0499 is not shown as 0.050.
    """
    if value is None:
        return "-"
    if value < 0.0001:
        return "< 0.0001"
    return f"{value:.4f}" if value < 0.1 else f"{value:.3f}"


def format_thousands(value: float | None) -> str:
    """Format a rounded count with thousands separators; None is shown as a dash."""
    return "-" if value is None else f"{round(value):,}"


def format_seconds(value: float) -> str:
    """Format a time in seconds with up to three significant digits, or from 100 s on without decimals."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

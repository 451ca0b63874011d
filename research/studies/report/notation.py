"""Numbers of a study as a person reads them."""

from __future__ import annotations

import math


def decimal(value: float | None, *, signed: bool = False) -> str:
    """Return a number with four decimals, or as many digits as a very small or large one needs; a dash for none."""
    if value is None or math.isnan(value):
        return "-"
    sign = "+" if signed else ""
    is_plain = value == 0 or 0.001 <= abs(value) < 10_000
    return f"{value:{sign}.4f}" if is_plain else f"{value:{sign}.3g}"


def interval(bounds: tuple[float, float] | None, *, signed: bool = False) -> str:
    """Return an interval; a dash for none."""
    return "-" if bounds is None else " to ".join(decimal(bound, signed=signed) for bound in bounds)


def p_value(value: float | None) -> str:
    """Return a p value; a dash for none."""
    if value is None:
        return "-"
    if value < 0.0001:
        return "< 0.0001"
    return f"{value:.4f}" if value < 0.1 else f"{value:.3f}"


def count(value: float | None) -> str:
    """Return a number of things, in thousands; a dash for none."""
    return "-" if value is None else f"{round(value):,}"


def seconds(value: float) -> str:
    """Return a time, with three digits or more."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

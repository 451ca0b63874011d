"""Number formats of a study's report."""

from __future__ import annotations

import math
from collections.abc import Iterable

DECIMALS = 4
"""Number of decimals of metrics and differences of usual size."""


def column_decimals(values: Iterable[float | None]) -> int:
    """Return the number of decimals with which all values of a column are shown.

    It is 4, or more if all values are so small that fewer than three digits would be left, or fewer if a value is
    10,000 or larger. None and values that are not finite do not count.
    """
    largest = max((abs(value) for value in values if value is not None and math.isfinite(value)), default=0.0)
    if largest == 0:
        return DECIMALS
    magnitude = math.floor(math.log10(largest))
    return max(DECIMALS, 2 - magnitude) if magnitude < DECIMALS else 0


def format_decimal(value: float | None, decimals: int = DECIMALS, *, signed: bool = False) -> str:
    """Format a number with a fixed number of decimals. None and NaN are shown as a dash, and 0 has no sign."""
    if value is None or math.isnan(value):
        return "-"
    is_zero = abs(float(f"{value:.{decimals}f}")) == 0
    return f"{0:.{decimals}f}" if is_zero else f"{value:{'+' if signed else ''}.{decimals}f}"


def format_interval(bounds: tuple[float, float] | None, decimals: int = DECIMALS, *, signed: bool = False) -> str:
    """Format an interval; None is shown as a dash."""
    return "-" if bounds is None else " to ".join(format_decimal(bound, decimals, signed=signed) for bound in bounds)


def format_sort_key(value: float | None) -> str:
    """Return the value by which a cell is sorted, without loss of precision; empty if there is none."""
    return "" if value is None or math.isnan(value) else repr(float(value))


def format_p_value(value: float | None) -> str:
    """Format a p value; None is shown as a dash.

    There are four decimals, so that 0.0499 is not shown as 0.05.
    """
    if value is None:
        return "-"
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def format_thousands(value: float | None) -> str:
    """Format a rounded count with thousands separators; None is shown as a dash."""
    return "-" if value is None else f"{round(value):,}"


def seconds_decimals(values: Iterable[float]) -> int:
    """Return the number of decimals, at most 3, that leaves two digits of the shortest time of a column."""
    shortest = min((value for value in values if value > 0), default=1.0)
    return min(3, max(0, 1 - math.floor(math.log10(shortest))))


def format_hours(value: float) -> str:
    """Format a number of hours with at least three significant digits."""
    decimals = max(0, 2 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:,.{decimals}f}"


def format_objective(value: float, decimals: int) -> str:
    """Format a value of a search's second objective: a count with thousands separators, or an amount with decimals."""
    return format_thousands(value) if value.is_integer() else format_amount(value, decimals)


def format_amount(value: float, decimals: int) -> str:
    """Format an amount, such as a time, with a fixed number of decimals and thousands separators."""
    return f"{value:,.{decimals}f}"

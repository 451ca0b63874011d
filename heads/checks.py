"""Checks that heads make of their options."""

from __future__ import annotations

from collections.abc import Sequence


def require_positive(**sizes: int) -> None:
    """Check that sizes and counts are at least 1; torch silently accepts some smaller values.

    Raises:
        ValueError: if a value is below 1.
    """
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"Expected {name} to be 1 or more; got {size}.")


def require_divisor(size: int, **divisors: int) -> None:
    """Check that counts divide the encoder's hidden size, as attention heads do.

    Args:
        size: the encoder's hidden size.
        **divisors: the counts by name, at least 1.
    Raises:
        ValueError: if a count does not divide `size`.
    """
    for name, divisor in divisors.items():
        if size % divisor:
            raise ValueError(f"{name} must divide the hidden size {size}; got {divisor}.")


def require_one_of(choices: Sequence[str], **options: str) -> None:
    """Check that values are among the allowed choices.

    Raises:
        ValueError: if a value is not one of `choices`.
    """
    for name, value in options.items():
        if value not in choices:
            raise ValueError(f"Expected {name} to be one of {', '.join(choices)}; got '{value}'.")


def require_probability(**probabilities: float) -> None:
    """Check that probabilities, or decay rates of averages, are at least 0 and below 1.

    A dropout probability of 1 would drop every feature.

    Raises:
        ValueError: if a value is negative, or 1 or more.
    """
    for name, probability in probabilities.items():
        if not 0 <= probability < 1:
            raise ValueError(f"Expected {name} to be at least 0 and less than 1; got {probability}.")

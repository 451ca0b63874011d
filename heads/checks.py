"""What heads refuse among their options' values."""

from __future__ import annotations

from collections.abc import Sequence


def require_positive(**sizes: int) -> None:
    """Refuse sizes and numbers below 1, some of which torch would take without a word.

    Raises:
        ValueError: if one is below 1.
    """
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"Expected {name} of 1 or more, got {size}.")


def require_one_of(choices: Sequence[str], **options: str) -> None:
    """Refuse values that are none of the choices.

    Raises:
        ValueError: if one is not.
    """
    for name, value in options.items():
        if value not in choices:
            raise ValueError(f"Expected {name} to be one of {', '.join(choices)}, got '{value}'.")


def require_probability(**probabilities: float) -> None:
    """Refuse probabilities of dropping that are no probabilities, or would drop everything.

    Raises:
        ValueError: if one is not from 0 to below 1.
    """
    for name, probability in probabilities.items():
        if not 0 <= probability < 1:
            raise ValueError(f"Expected {name} from 0 to below 1, got {probability}.")

"""Names in metrics.jsonl that are reserved for the run itself."""

from __future__ import annotations

from collections.abc import Iterable

RESERVED_NAMES = (
    "step",
    "epoch",
    "loss",
    "gradient_norm",
    "trainable_parameters",
    "examples_per_second",
    "skipped_steps",
)


def check_reserved_names(names: Iterable[str]) -> None:
    """Check that none of the names is reserved for a value that the run itself logs.

    Raises:
        ValueError: if a name is reserved; the message contains the first such name.
    """
    for name in names:
        if name in RESERVED_NAMES or name.startswith("learning_rate/"):
            raise ValueError(
                f"The name '{name}' is reserved for a value that the run itself logs; log your value under a different "
                "name."
            )

"""Names in metrics.jsonl that are reserved for the run itself."""

from __future__ import annotations

from collections.abc import Iterable

LOGGED_ANYWAY = (
    "step",
    "epoch",
    "loss",
    "gradient_norm",
    "trainable_parameters",
    "examples_per_second",
    "skipped_steps",
)


def check_reserved_names(names: Iterable[str]) -> None:
    """Check that names do not collide with those of values in every line.

    Raises:
        ValueError: if a name is reserved; names the first one.
    """
    for name in names:
        if name in LOGGED_ANYWAY or name.startswith("learning_rate/"):
            raise ValueError(f"The name '{name}' is reserved for a value of the run; log yours under another name.")

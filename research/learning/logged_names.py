"""Names of values in a line of metrics.jsonl that belong to the run itself."""

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


def refuse_taken_names(names: Iterable[str]) -> None:
    """Refuse names of values that every line has already.

    Raises:
        ValueError: naming the first.
    """
    for name in names:
        if name in LOGGED_ANYWAY or name.startswith("learning_rate/"):
            raise ValueError(f"The value '{name}' is logged anyway; log yours under another name.")

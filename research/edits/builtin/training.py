"""Change what is minimised, and how much of a text is read."""

from __future__ import annotations

from typing import Any

from research.edits.base import Editable, EditError, register_edit
from research.learning.objectives import create_objective
from research.model.families import longest_input
from research.settings.config import Choice


@register_edit("set_objective", changes_parameters=False)
def set_objective(run: Editable, objective: dict[str, Any] | str) -> None:
    """Train with another objective; losses before and after do not compare.

    What follows the loss (the schedule 'plateau', early stopping, the best model, conditions) begins anew.

    Args:
        objective: registered name, or a mapping of `name` and options.
    """
    run.schedule.forget_metrics()
    run.objective = create_objective(Choice.of(objective, "objective"), run.task)


@register_edit("set_max_length", changes_parameters=False)
def set_max_length(run: Editable, length: int) -> None:
    """Cut training texts at another length; evaluation goes on at the longest that there was, or was set.

    Source: Li et al. 2021, The Stability-Efficiency Dilemma (as a warm-up).

    Args:
        length: longest training input, in tokens, special tokens included.
    """
    config = run.encoder_with_head.config
    longest = longest_input(config.encoder)
    if longest is not None and length > longest:
        raise EditError(f"Expected a length of at most {longest}, as the encoder takes, got {length}.")
    run.collator.max_length = length
    run.collator.check_room()
    config.max_input_length = max(config.max_input_length, length)

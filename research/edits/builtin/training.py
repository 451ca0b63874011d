"""Change the objective and the maximum length of training inputs."""

from __future__ import annotations

from typing import Any

from research.edits.base import Editable, EditError, register_edit
from research.learning.objectives import create_objective
from research.model.families import longest_input
from research.settings.config import Choice


@register_edit("set_objective", changes_parameters=False)
def set_objective(run: Editable, objective: dict[str, Any] | str) -> None:
    """Change the objective. Losses before and after the edit are not comparable.

    Everything that depends on earlier losses is reset: the schedule `plateau`, and also early stopping, the best model
    and conditions if they use the loss. (Their hooks notice the new objective themselves.)

    Args:
        objective: registered name of the new objective, or a mapping with its `name` and options.
    """
    run.schedule.forget_metrics()
    run.objective = create_objective(Choice.of(objective, "objective"), run.task)


@register_edit("set_max_length", changes_parameters=False)
def set_max_length(run: Editable, length: int) -> None:
    """Change the maximum length of training inputs. Evaluation uses the largest maximum length that was set so far.

    Source: Li et al. 2021, The Stability-Efficiency Dilemma (sequence length warm-up).

    Args:
        length: maximum length of a training input in tokens, special tokens included.
    """
    config = run.encoder_with_head.config
    longest = longest_input(config.encoder)
    if longest is not None and length > longest:
        raise EditError(f"Expected a length of at most {longest}, the encoder's maximum, got {length}.")
    run.collator.max_length = length
    run.collator.check_settings()
    config.max_input_length = max(config.max_input_length, length)

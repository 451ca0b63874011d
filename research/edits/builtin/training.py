"""Change the objective, the optimizer and the maximum length of training inputs."""

from __future__ import annotations

from typing import Any

from research.edits.base import Editable, EditError, register_edit
from research.learning.objectives import create_objective
from research.learning.optimizer import create_successor
from research.learning.optimizers.base import OPTIMIZERS
from research.model.families import longest_input, model_blocks
from research.model.prompt_tuning import count_virtual_tokens
from research.settings.config import Choice
from research.settings.options import create


@register_edit("set_objective", touches="nothing")
def set_objective(run: Editable, objective: dict[str, Any] | str) -> None:
    """Change the objective. Losses before and after the edit are not comparable.

    Everything that depends on earlier losses is reset: the schedule `plateau`, and also early stopping, the best model
    and conditions if they use the loss. (Their hooks notice the new objective themselves.)

    Args:
        objective: registered name of the new objective, or a mapping with its `name` and options.
    """
    run.schedule.forget_metrics()
    run.objective = create_objective(Choice.of(objective, "objective"), run.task)


@register_edit("set_optimizer", touches="nothing")
def set_optimizer(run: Editable, optimizer: dict[str, Any] | str, lr: float | None = None) -> None:
    """Change the optimizer. The new one starts without state: momentum and step counts are dropped.

    Blocks keep their weight decay and, unless `lr` is given, their base learning rates. The schedule continues; an
    optimizer that does not work with it is refused. After `schedule_free_adamw`, training continues with the averaged
    weights.

    Source: Keskar & Socher 2017, Improving Generalization Performance by Switching from Adam to SGD.

    Args:
        optimizer: registered name of the new optimizer, or a mapping with its `name` and options.
        lr: new base learning rate of the encoder's last layer, above 0. The base rates of the other blocks change by
            the same factor.
    """
    if lr is not None and not 0 < lr < float("inf"):
        raise EditError(f"Expected an lr above 0, got {lr}.")
    kind = create(OPTIMIZERS, Choice.of(optimizer, "optimizer"))
    kind.check_installed()
    kind.check_schedule(run.schedule)
    model = run.encoder_with_head
    blocks = model_blocks(model.encoder, model.head)
    run.replace_optimizer(kind, create_successor(run.optimizer, kind, blocks, run.config, lr))


@register_edit("set_max_length", touches="nothing")
def set_max_length(run: Editable, length: int) -> None:
    """Change the maximum length of training inputs. Evaluation uses the largest maximum length that was set so far.

    The edit is refused with `--long_texts windows`.

    Source: Li et al. 2021, The Stability-Efficiency Dilemma (sequence length warm-up).

    Args:
        length: maximum length of a training input in tokens, special tokens included.
    """
    if run.collator.windows is not None:
        raise EditError("The length of inputs is fixed with --long_texts windows. Set --long_texts truncate.")
    config = run.encoder_with_head.config
    longest = longest_input(config.encoder)
    num_virtual = count_virtual_tokens(run.encoder_with_head.encoder)
    if longest is not None and length > longest - num_virtual:
        without = f" without {num_virtual} virtual tokens" if num_virtual else ""
        raise EditError(
            f"Expected a length of at most {longest - num_virtual}, the encoder's maximum{without}, got {length}."
        )
    run.collator.max_length = length
    run.collator.check_settings()
    config.max_input_length = max(config.max_input_length, length)

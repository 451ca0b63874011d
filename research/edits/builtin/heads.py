"""Replace the head."""

from __future__ import annotations

from typing import Any

from research.edits.base import Editable, register_edit
from research.settings.config import Choice


@register_edit("replace_head", touches="modules")
def replace_head(run: Editable, head: dict[str, Any] | str) -> None:
    """Replace the head with a randomly initialised one, which trains with the head's learning rate and weight decay.

    Args:
        head: registered name of the new head, or a mapping with its `name` and options.
    """
    model = run.encoder_with_head
    choice = Choice.of(head, "head")
    model.replace_head(choice.name, choice.options)
    run.new_parameters |= set(model.head.parameters())

"""Put another head on the encoder."""

from __future__ import annotations

from typing import Any

from research.edits.base import Editable, register_edit
from research.settings.config import Choice


@register_edit("replace_head")
def replace_head(run: Editable, head: dict[str, Any] | str) -> None:
    """Put a new head in the place of the old one, at the head's learning rates.

    Args:
        head: registered name, or a mapping of `name` and options.
    """
    model = run.encoder_with_head
    choice = Choice.of(head, "head")
    model.replace_head(choice.name, choice.options)
    run.fresh |= set(model.head.parameters())

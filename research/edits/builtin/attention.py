"""Change the direction of attention."""

from __future__ import annotations

from research.edits.base import Editable, EditError, register_edit
from research.model.bidirectional import set_bidirectional as change_direction


@register_edit("set_bidirectional")
def set_bidirectional(run: Editable, bidirectional: bool = True) -> None:
    """Let every token of a causal encoder attend to all tokens, or again only to itself and the tokens before it.

    Source: BehnamGhader et al. 2024, LLM2Vec, section 2.1.

    Args:
        bidirectional: whether every token attends to all tokens.
    """
    model = run.encoder_with_head
    if not bidirectional and model.head.needs_first_token_to_see_all:
        raise EditError(
            f"The head '{model.config.head}' reads the first token, which would see no other token. Replace the head "
            "with replace_head first."
        )
    try:
        change_direction(model.config.encoder, model.encoder, bidirectional=bidirectional)
    except ValueError as error:
        raise EditError(f"set_bidirectional is not possible. {error}") from None

"""Let the tokens of a causal encoder attend to all tokens."""

from __future__ import annotations

from torch import nn
from transformers import PretrainedConfig

from research.model.families import is_causal_by_default
from research.model.family_table import FAMILIES


def set_bidirectional(
    config: PretrainedConfig, encoder: nn.Module | None = None, *, bidirectional: bool = True
) -> None:
    """Let every token attend to all tokens, or only to itself and the tokens before it.

    Source: BehnamGhader et al. 2024, LLM2Vec, section 2.1. Differs: the encoder is not trained to predict masked tokens
    first.

    Args:
        config: the encoder's config. Transformers' mask functions and the saved model read its `is_causal`.
        encoder: the encoder, if it has been built.
        bidirectional: whether every token attends to all tokens.
    Raises:
        ValueError: if the encoder is not causal by default, or its code allows no other direction.
    """
    family = config.model_type
    if not is_causal_by_default(config):
        raise ValueError(f"In encoders of the family '{family}', every token attends to all tokens anyway.")
    if family in FAMILIES and FAMILIES[family].always_causal:
        raise ValueError(f"The code of the family '{family}' cannot let a token attend to later tokens.")
    config.is_causal = not bidirectional
    if encoder is not None:
        attend_to_all_tokens(encoder, bidirectional=bidirectional)


def attend_to_all_tokens(encoder: nn.Module, *, bidirectional: bool = True) -> None:
    """Set the direction of attention in the modules that decide it when a batch has no padding, and thus no mask."""
    for module in encoder.modules():
        if isinstance(getattr(module, "is_causal", None), bool):
            module.is_causal = not bidirectional  # type: ignore[assignment]

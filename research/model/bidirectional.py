"""Let the tokens of a causal encoder attend to all tokens."""

from __future__ import annotations

from torch import nn
from transformers import PretrainedConfig

from research.model.families import is_causal


def set_bidirectional(
    config: PretrainedConfig, encoder: nn.Module | None = None, *, bidirectional: bool = True
) -> None:
    """Let every token attend to all tokens, or only to itself and the tokens before it.

    Source: BehnamGhader et al. 2024, LLM2Vec, section 2.1. Differs: the encoder is not trained to predict masked tokens
    first.

    Args:
        config: the config of a causal encoder. Transformers' mask functions and the saved model read its `is_causal`.
        encoder: the encoder, if it has been built.
        bidirectional: whether every token attends to all tokens.
    """
    config.is_causal = not bidirectional
    if encoder is not None:
        attend_to_all_tokens(encoder, bidirectional=bidirectional)


def attend_to_all_tokens(encoder: nn.Module, *, bidirectional: bool = True) -> None:
    """Set the direction of attention in the modules that decide it when a batch has no padding, and thus no mask."""
    for module in encoder.modules():
        if isinstance(getattr(module, "is_causal", None), bool):
            module.is_causal = not bidirectional  # type: ignore[assignment]


def default_head(config: PretrainedConfig) -> str:
    """Return the name of the head that a run has by default: `last` for a causal encoder, otherwise `linear`."""
    return "last" if is_causal(config) else "linear"

"""What Midway needs to know of a family of encoders."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Positions(enum.Enum):
    """How the encoders of a family number the positions of a row."""

    FROM_ZERO = "position ids start at 0, and `forward` takes them"
    AFTER_PADDING_ID = "position ids start after the id of the padding token, and `forward` takes them"
    RELATIVE = "only distances between tokens matter, so that padding may be on either side"
    FROM_LEFT_END = "positions count from the left end of the padded row, so that padding must be on the right"


@dataclass(frozen=True)
class Family:
    """Properties of the encoders of one `model_type`: names of their parts and config fields, and what they compute."""

    embeddings: tuple[str, ...]
    """Modules and parameters between the token ids and the first layer."""
    layers: tuple[str, ...]
    """Lists of modules: the first layer consists of the first module of each list, and so on. Empty if unknown."""
    dropout: tuple[str, ...] | None = ("hidden_dropout_prob",)
    """Config fields with the dropout probability outside attention; None if unknown."""
    attention_dropout: tuple[str, ...] | None = ("attention_probs_dropout_prob",)
    """Config fields with the dropout probability of attention weights only; None if unknown."""
    positions: Positions = Positions.FROM_ZERO
    """How the positions of a row are numbered."""
    is_causal: bool = False
    """Whether a token attends only to itself and to the tokens before it."""
    always_causal: bool = False
    """Whether the code of a causal family cannot let a token attend to all tokens."""
    shares_layers: bool = False
    """Whether the list contains groups of layers that are run several times each (ALBERT)."""
    unused: tuple[str, ...] = ()
    """Patterns of the parameters that do not affect the hidden states of texts, such as those of a pooler."""
    uncalled: tuple[str, ...] = ()
    """Patterns of the linear layers that are never called, because the encoder reads their weights: no adapters."""

"""Base class of all heads: hidden states and an attention mask in, logits out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from jaxtyping import Float, Int
from torch import Tensor, nn

from heads.registry import Registry

WANTS = ("last_hidden_state", "all_hidden_states")


@dataclass(frozen=True)
class EncoderSpec:
    """Properties of an encoder that a head needs to know."""

    hidden_size: int
    """Size of a hidden state."""
    num_hidden_states: int
    """Number of hidden states per token, including the embedding layer's (7 for a 6-layer encoder)."""
    first_token_sees_all: bool = True
    """Whether the first token attends to all tokens. In a causal encoder, it attends only to itself."""


class Head(nn.Module):
    """Base class of all heads: turns hidden states into logits.

    The `__init__` of a subclass takes `(encoder: EncoderSpec, num_labels: int, *, option: type = default, ...)`; the
    keyword-only parameters are the head's options. The logits must not depend on padding, wherever it is in the row.
    They must be finite even for a row without tokens.
    """

    wants: ClassVar[Literal["last_hidden_state", "all_hidden_states"]] = "last_hidden_state"
    """What `forward` receives: the last layer's hidden states, or a tuple of the embedding layer's and each layer's."""

    input_pooling: str | None = None
    """The pooling in `heads.masking.POOLINGS` with which `forward` starts, before any parameter or dropout; None
    if it starts with anything else. It is a promise: the logits do not change if each row is replaced by a single token
    with the pooled hidden state. If the encoder is frozen, the head then trains on stored pooled hidden states, which
    is much faster. `__init__` may set it, depending on the options. A subclass with a `forward` of its own does not
    inherit it."""

    needs_first_token_to_see_all: bool = False
    """Whether the head reads only the first token, so that it is useless on a causal encoder. `__init__` may set it,
    depending on the options."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.wants not in WANTS:
            raise ValueError(f"Expected `wants` of {cls.__name__} to be {' or '.join(WANTS)}, got '{cls.wants}'.")
        if "forward" in vars(cls) and "input_pooling" not in vars(cls):
            cls.input_pooling = None

    def forward(
        self,
        hidden_states: Any,
        attention_mask: Int[Tensor, "batch seq"],
    ) -> Float[Tensor, "batch labels"]:
        """Return unnormalised logits.

        Args:
            hidden_states: [batch, seq, hidden], or a tuple of such tensors if `wants` is "all_hidden_states": first the
                embedding layer's, then one per layer.
            attention_mask: 1 = token, 0 = padding, [batch, seq].
        Returns:
            Logits, [batch, num_labels].
        """
        raise NotImplementedError

    def token_weights(
        self,
        hidden_states: Any,
        attention_mask: Int[Tensor, "batch seq"],
    ) -> Float[Tensor, "batch seq"] | None:
        """Return the weight with which each token enters the logits, for display; None if there are no such weights.

        A head that pools tokens with weights may override this method.

        Args:
            hidden_states: see `forward`.
            attention_mask: see `forward`.
        Returns:
            Weights, which sum to 1 over the tokens of a row and are 0 on padding, [batch, seq]; or None.
        """
        return None


HEADS: Registry[type[Head]] = Registry("head", Head)
register_head = HEADS.register

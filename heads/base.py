"""What every head is: hidden states and an attention mask in, logits out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from jaxtyping import Float, Int
from torch import Tensor, nn

from heads.registry import Registry

WANTS = ("last_hidden_state", "all_hidden_states")


@dataclass(frozen=True)
class EncoderSpec:
    """What an encoder gives to a head."""

    hidden_size: int
    """Width of a hidden state."""
    num_hidden_states: int
    """Hidden states per token, the embedding layer's included (a 6-layer encoder has 7)."""


class Head(nn.Module):
    """Base of all heads: turns hidden states into logits.

    A subclass's `__init__` takes `(encoder: EncoderSpec, num_labels: int, *, option: type = default, ...)`; the
    keyword-only options are the head's settings. Padding must not change the output, wherever in the row it is, and a
    row without any token must give finite logits.
    """

    wants: ClassVar[Literal["last_hidden_state", "all_hidden_states"]] = "last_hidden_state"
    """What `forward` gets first: the last layer's hidden states, or the tuple of all layers', embeddings first."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.wants not in WANTS:
            raise ValueError(f"Expected `wants` of {cls.__name__} to be {' or '.join(WANTS)}, got '{cls.wants}'.")

    def forward(
        self,
        hidden_states: Any,
        attention_mask: Int[Tensor, "batch seq"],
    ) -> Float[Tensor, "batch labels"]:
        """Return unnormalised logits.

        Args:
            hidden_states: [batch, seq, hidden], or a tuple of such when `wants` is "all_hidden_states".
            attention_mask: 1 = token, 0 = padding, [batch, seq].
        Returns:
            Logits, [batch, num_labels].
        """
        raise NotImplementedError


HEADS: Registry[type[Head]] = Registry("head", Head)
register_head = HEADS.register

"""What every head is: hidden states and an attention mask in, logits out."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

from jaxtyping import Float, Int
from torch import Tensor, nn

from heads.registry import Registry

HEADS: Registry[type[Head]] = Registry("head")
WANTS = ("last_hidden_state", "all_hidden_states")

SomeHead = TypeVar("SomeHead", bound="type[Head]")


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


def register_head(name: str) -> Callable[[SomeHead], SomeHead]:
    """Return a decorator that registers a subclass of `Head` under `name`.

    Raises:
        ValueError: if what is decorated is no head, its `wants` is none of the two, or the name is taken.
    """
    register = HEADS.register(name)

    def decorate(head: Any) -> Any:
        if not (inspect.isclass(head) and issubclass(head, Head)):
            raise ValueError(f"@register_head('{name}') expects a subclass of Head, got {head!r}.")
        if head.wants not in WANTS:
            raise ValueError(f"Expected `wants` of the head '{name}' to be {' or '.join(WANTS)}, got '{head.wants}'.")
        return register(head)

    return decorate

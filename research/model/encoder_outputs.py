"""Read hidden states from the output of an encoder."""

from __future__ import annotations

from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput


def hidden_states_of(encoded: BaseModelOutput, mask: Tensor, *, all_layers: bool) -> Tensor | tuple[Tensor, ...]:
    """Return hidden states, with 0 for padding: what an encoder computes there may be NaN.

    Args:
        encoded: output of the encoder.
        mask: 1 = token, 0 = padding, [batch, seq].
        all_layers: whether to return those of all layers, or only the last ones.
    Returns:
        Hidden states, [batch, seq, hidden], or a tuple of them, starting with the embeddings.
    """
    padding = mask.eq(0).unsqueeze(-1)  # [batch, seq, 1]
    if not all_layers:
        assert encoded.last_hidden_state is not None
        return encoded.last_hidden_state.masked_fill(padding, 0.0)
    assert encoded.hidden_states is not None
    return tuple(layer.masked_fill(padding, 0.0) for layer in encoded.hidden_states)

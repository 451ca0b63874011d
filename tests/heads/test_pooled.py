"""Base class of heads that pool without learned parameters."""

from __future__ import annotations

import torch
from torch import Tensor

from heads.pooled import PooledHead
from tests.heads.by_hand import ENCODER_SPEC, HIDDEN_STATES, MASK, set_output_layer


class LastPosition(PooledHead):
    """Pools by taking the hidden state at the last position."""

    def pool(self, hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
        return hidden_states[:, -1]


def test_pooled_head_is_linear_in_the_pooled_vector() -> None:
    head = LastPosition(ENCODER_SPEC, 2, dropout=0.5).eval()
    set_output_layer(head, [[1.0, 10.0], [0.0, 2.0]], [0.5, 0.0])
    # The last position is the token (3, 4).
    assert head(HIDDEN_STATES, MASK).tolist() == [[3 + 10 * 4 + 0.5, 2 * 4]]


def test_pooled_head_drops_features_of_the_pooled_vector_in_training_mode() -> None:
    head = LastPosition(ENCODER_SPEC, 1, dropout=0.5).train()
    set_output_layer(head, [[1.0, 10.0]], [0.0])
    torch.manual_seed(0)
    logits = {head(HIDDEN_STATES, MASK).item() for _ in range(50)}
    assert logits == {0.0, 6.0, 80.0, 86.0}  # (3, 4) scaled by 2, with each feature dropped or kept

"""CNN head, with results computed by hand."""

from __future__ import annotations

import pytest
import torch

from heads.cnn import CNNHead
from tests.heads.by_hand import ENCODER_SPEC, HIDDEN_STATES, MASK, set_output_layer


def test_cnn_head_matches_logits_computed_by_hand() -> None:
    head = CNNHead(ENCODER_SPEC, 1, num_filters=1, kernel_sizes=(2,)).eval()
    (convolution,) = head.convolutions
    convolution.weight.data = torch.tensor([[[1.0, 10.0], [0.0, 1.0]]])  # [filter, feature, position]
    convolution.bias.data = torch.zeros(1)
    set_output_layer(head, [[1.0]], [0.0])
    # The tokens (1, -2) and (3, 4) are followed by zeros.
    convolved = [1 * 1 + 10 * 3 + 1 * 4, 1 * 3]
    assert head(HIDDEN_STATES, MASK).item() == max(convolved)


@pytest.mark.parametrize("sizes", [(), (3, 0)])
def test_cnn_head_rejects_empty_kernel_sizes_and_sizes_below_one(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="kernel_sizes") as caught:
        CNNHead(ENCODER_SPEC, 1, kernel_sizes=sizes)
    assert str(sizes) in str(caught.value)

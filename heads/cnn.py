"""Convolutions over neighbouring tokens."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from heads.base import EncoderSpec, Head, register_head
from heads.checks import require_positive, require_probability
from heads.masking import masked_max, reorder, token_order
from heads.output_layer import OutputLayer


@register_head("cnn")
class CNNHead(Head):
    """Convolutions of several kernel sizes over the tokens, then ReLU, max pooling, dropout and a linear layer.

    Source: Kim 2014, Convolutional Neural Networks for Sentence Classification. Differs: uses hidden states instead of
    word vectors, and pads rows with zeros, so that rows shorter than a kernel have an output, too.

    Args:
        num_filters: number of filters per kernel size.
        kernel_sizes: kernel sizes, in tokens.
        dropout: probability of dropping a feature before the linear layer.
    """

    def __init__(
        self,
        encoder: EncoderSpec,
        num_labels: int,
        *,
        num_filters: int = 100,
        kernel_sizes: tuple[int, ...] = (3, 4, 5),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        require_probability(dropout=dropout)
        require_positive(num_filters=num_filters)
        if not kernel_sizes or min(kernel_sizes) < 1:
            raise ValueError(f"Expected kernel_sizes to list one or more sizes of at least 1; got {kernel_sizes}.")
        self.convolutions = nn.ModuleList(nn.Conv1d(encoder.hidden_size, num_filters, size) for size in kernel_sizes)
        self.dropout = nn.Dropout(dropout)
        self.out = OutputLayer(num_filters * len(kernel_sizes), num_labels)

    def forward(
        self, hidden_states: Float[Tensor, "batch seq hidden"], attention_mask: Int[Tensor, "batch seq"]
    ) -> Float[Tensor, "batch labels"]:
        """See `Head.forward`."""
        order = token_order(attention_mask)
        mask = attention_mask.gather(1, order)  # all tokens, then all padding
        tokens = reorder(hidden_states, order) * mask.to(hidden_states.dtype).unsqueeze(-1)
        channels = tokens.transpose(1, 2)  # [batch, hidden, seq]
        features = [_convolve(convolution, channels).relu().transpose(1, 2) for convolution in self.convolutions]
        pooled = masked_max(torch.cat(features, dim=-1), mask)  # [batch, num_filters * len(kernel_sizes)]
        return self.out(self.dropout(pooled))


def _convolve(
    convolution: nn.Module, channels: Float[Tensor, "batch hidden seq"]
) -> Float[Tensor, "batch filters seq"]:
    """Convolve with enough zero padding to keep the sequence length."""
    assert isinstance(convolution, nn.Conv1d)
    num_padding = convolution.kernel_size[0] - 1
    left = num_padding // 2
    convolved: Tensor = convolution(nn.functional.pad(channels, (left, num_padding - left)))
    return convolved

"""The last layer of most heads."""

from __future__ import annotations

from torch import nn


def linear_layer(in_features: int, out_features: int) -> nn.Linear:
    """Return a linear layer initialised as BERT's are: normal weights of deviation 0.02, no bias.

    Source: Devlin et al. 2019, BERT.
    """
    layer = nn.Linear(in_features, out_features)
    nn.init.normal_(layer.weight, std=0.02)
    nn.init.zeros_(layer.bias)
    return layer

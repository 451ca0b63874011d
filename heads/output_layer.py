"""The last layer of most heads."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn


class OutputLayer(nn.Linear):
    """A linear layer initialised as BERT's are: normal weights of deviation 0.02, no bias.

    Under autocast it computes in its weights' precision: logits in bfloat16 have 8 bits, which makes many rows equal
    that are not. It takes one vector per row, so that costs nothing.

    Source: Devlin et al. 2019, BERT.
    """

    def reset_parameters(self) -> None:
        """Initialise; called by nn.Linear."""
        nn.init.normal_(self.weight, std=0.02)
        nn.init.zeros_(self.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits, [..., out_features], of features [..., in_features]."""
        device = features.device.type
        has_autocast = torch.amp.is_autocast_available(device)  # the meta device has none
        with torch.autocast(device, enabled=False) if has_autocast else nullcontext():
            return super().forward(features.to(self.weight.dtype))

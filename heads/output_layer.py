"""Output layer of most heads."""

from __future__ import annotations

from torch import Tensor, nn

from heads.precision import without_autocast


class OutputLayer(nn.Linear):
    """Linear layer initialised as in BERT: normally distributed weights with standard deviation 0.02, bias 0.

    The layer computes in the precision of its weights even under autocast. Bfloat16 logits have only 8 significant
    bits, so many different rows would get equal logits. The cost is negligible: there is one vector per row.

    Source: Devlin et al. 2019, BERT.
    """

    def reset_parameters(self) -> None:
        """Initialise the parameters; called by nn.Linear."""
        nn.init.normal_(self.weight, std=0.02)
        nn.init.zeros_(self.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits, [..., out_features], for features [..., in_features]."""
        with without_autocast(features.device.type):
            return super().forward(features.to(self.weight.dtype))

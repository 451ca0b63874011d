"""AdamW: Adam with decoupled weight decay."""

from __future__ import annotations

import torch

from heads.checks import require_probability
from research.learning.optimizers.base import OptimizerKind, ParameterGroups, register_optimizer


@register_optimizer("adamw")
class AdamW(OptimizerKind):
    """Adam with decoupled weight decay: each weight's step is scaled by running averages of its gradient.

    Source: Loshchilov & Hutter 2019, Decoupled Weight Decay Regularization; torch.optim.AdamW. Devlin et al. 2019
    (BERT, appendix A.3) fine-tune with an lr of 2e-5 to 5e-5.

    Args:
        beta1: decay rate of the average of gradients.
        beta2: decay rate of the average of squared gradients.
        eps: number added to the denominator.
    """

    is_elementwise = True

    def __init__(self, *, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> None:
        require_probability(beta1=beta1, beta2=beta2)
        if eps < 0:
            raise ValueError(f"Expected eps of 0 or more; got {eps}.")
        self.betas = (beta1, beta2)
        self.eps = eps

    def create(self, groups: ParameterGroups) -> torch.optim.Optimizer:
        """Return torch's AdamW, fused into one kernel."""
        return torch.optim.AdamW(groups, betas=self.betas, eps=self.eps, fused=can_fuse(groups))


def can_fuse(groups: ParameterGroups) -> bool:
    """Return whether torch's fused kernels accept the parameters, which must have values."""
    return not any(parameter.is_meta for group in groups for parameter in group["params"])

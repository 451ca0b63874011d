"""Lion: steps of equal size in the direction of the sign of the momentum."""

from __future__ import annotations

import torch

from heads.checks import require_probability
from research.learning.optimizers.base import OptimizerKind, ParameterGroups, register_optimizer
from research.system.packages import Package


@register_optimizer("lion")
class Lion(OptimizerKind):
    """Moves every weight by exactly lr, in the direction of the sign of an average of gradients.

    Needs the `lion` extra.

    Source: Chen et al. 2023, Symbolic Discovery of Optimization Algorithms; the package lion-pytorch. The paper
    (section 5) uses an lr 3 to 10 times smaller than for AdamW, and a weight decay 3 to 10 times larger.

    Args:
        beta1: weight of the average, in relation to the newest gradient, when the sign is computed.
        beta2: decay rate of the average of gradients.
    """

    package = Package("lion_pytorch", extra="lion")
    is_elementwise = True

    def __init__(self, *, beta1: float = 0.9, beta2: float = 0.99) -> None:
        require_probability(beta1=beta1, beta2=beta2)
        self.betas = (beta1, beta2)

    def create(self, groups: ParameterGroups) -> torch.optim.Optimizer:
        """Return lion-pytorch's Lion."""
        import lion_pytorch

        optimizer: torch.optim.Optimizer = lion_pytorch.Lion(groups, betas=self.betas)
        return optimizer

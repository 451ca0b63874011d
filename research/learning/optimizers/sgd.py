"""Stochastic gradient descent."""

from __future__ import annotations

import torch

from heads.checks import require_probability
from research.learning.optimizers.base import OptimizerKind, ParameterGroups, register_optimizer


@register_optimizer("sgd")
class SGD(OptimizerKind):
    """Stochastic gradient descent, with an L2 penalty as its weight decay.

    Source: Sutskever et al. 2013, On the Importance of Initialization and Momentum in Deep Learning; torch.optim.SGD.
    Its steps are not scaled to the gradients, so lr must be much larger than for AdamW: start at 0.01 to 0.1.

    Args:
        momentum: share of the previous step that is added to the next one.
        nesterov: whether to use Nesterov's momentum.
    """

    is_elementwise = True

    def __init__(self, *, momentum: float = 0.0, nesterov: bool = False) -> None:
        require_probability(momentum=momentum)
        if nesterov and momentum == 0:
            raise ValueError("Expected a momentum above 0 for nesterov; got 0.")
        self.momentum = momentum
        self.nesterov = nesterov

    def create(self, groups: ParameterGroups) -> torch.optim.Optimizer:
        """Return torch's SGD."""
        return torch.optim.SGD(groups, momentum=self.momentum, nesterov=self.nesterov)

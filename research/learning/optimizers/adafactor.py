"""Adafactor: Adam's second moments, stored as one number per row and one per column of a matrix."""

from __future__ import annotations

import torch

from research.learning.optimizers.base import OptimizerKind, ParameterGroups, register_optimizer


@register_optimizer("adafactor")
class Adafactor(OptimizerKind):
    """Steps relative to the size of the weights, with second moments per row and column instead of per weight.

    The state takes almost no memory. There is no momentum.

    Source: Shazeer & Stern 2018, Adafactor; torch.optim.Adafactor. Raffel et al. 2020 (T5, section 3.1.2) fine-tune
    with an lr of 1e-3. lr is the step's size relative to the root mean square of a parameter; it is at most
    1 / sqrt(number of steps of the parameter).

    Args:
        beta2_decay: exponent, at most 0, with which the decay rate of the averages rises towards 1.
        clip_threshold: largest root mean square of a step before lr scales it, at least 1.
    """

    has_momentum = False

    def __init__(self, *, beta2_decay: float = -0.8, clip_threshold: float = 1.0) -> None:
        if beta2_decay > 0:
            raise ValueError(f"Expected beta2_decay of 0 or less; got {beta2_decay}.")
        if clip_threshold < 1:
            raise ValueError(f"Expected clip_threshold of 1 or more; got {clip_threshold}.")
        self.beta2_decay = beta2_decay
        self.clip_threshold = clip_threshold

    def create(self, groups: ParameterGroups) -> torch.optim.Optimizer:
        """Return torch's Adafactor."""
        return torch.optim.Adafactor(groups, beta2_decay=self.beta2_decay, d=self.clip_threshold)

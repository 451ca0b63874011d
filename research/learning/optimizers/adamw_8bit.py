"""AdamW with its state in 8 bits."""

from __future__ import annotations

import torch

from heads.checks import require_probability
from research.learning.optimizers.base import OptimizerKind, ParameterGroups, register_optimizer
from research.system.bitsandbytes_messages import mute_missing_kernels
from research.system.packages import Package

DEVICES = ("cpu", "cuda", "xpu", "meta")
"""Devices with kernels in bitsandbytes, and the device of rehearsals."""


@register_optimizer("adamw_8bit")
class AdamW8bit(OptimizerKind):
    """AdamW whose running averages are stored in 8 bits, in blocks of 256 numbers with one scale each.

    The averages of small parameters stay in 32 bits. Needs the `bitsandbytes` extra and a CPU or a CUDA or Intel GPU.

    Source: Dettmers et al. 2022, 8-bit Optimizers via Block-wise Quantization; the package bitsandbytes. The paper
    replaces AdamW without a change of lr or other settings.

    Args:
        beta1: decay rate of the average of gradients.
        beta2: decay rate of the average of squared gradients.
        eps: number added to the denominator.
        min_8bit_size: number of weights from which on a parameter's averages are stored in 8 bits.
    """

    package = Package("bitsandbytes", extra="bitsandbytes")

    def __init__(
        self, *, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, min_8bit_size: int = 4096
    ) -> None:
        require_probability(beta1=beta1, beta2=beta2)
        if eps < 0:
            raise ValueError(f"Expected eps of 0 or more; got {eps}.")
        if min_8bit_size < 0:
            raise ValueError(f"Expected min_8bit_size of 0 or more; got {min_8bit_size}.")
        self.betas = (beta1, beta2)
        self.eps = eps
        self.min_8bit_size = min_8bit_size

    def create(self, groups: ParameterGroups) -> torch.optim.Optimizer:
        """Return bitsandbytes' AdamW8bit.

        Raises:
            ValueError: if bitsandbytes has no kernels for the device.
        """
        devices = {parameter.device.type for group in groups for parameter in group["params"]}
        if unsupported := sorted(devices - {*DEVICES}):
            raise ValueError(
                f"Expected a CPU or a CUDA or Intel GPU for the optimizer '{self.registered_name()}'; got the device "
                f"{unsupported[0]}, for which bitsandbytes has no 8-bit kernels. Choose another --optimizer."
            )
        mute_missing_kernels()
        import bitsandbytes

        optimizer: torch.optim.Optimizer = bitsandbytes.optim.AdamW8bit(
            groups, betas=self.betas, eps=self.eps, min_8bit_size=self.min_8bit_size
        )
        return optimizer

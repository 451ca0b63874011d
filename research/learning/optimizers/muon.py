"""Muon for the matrices of hidden layers, and AdamW for all other parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import nn

from heads.checks import require_positive, require_probability
from research.learning.optimizers.adamw import can_fuse
from research.learning.optimizers.base import OptimizerKind, ParameterGroups, register_optimizer

MUON = "muon"
ADAMW = "adamw"


@register_optimizer("muon")
class Muon(OptimizerKind):
    """Steps with orthogonalised momentum for hidden matrices; AdamW for the rest.

    Muon updates the matrices of the encoder's layers (adapters included) and of the head, except for the head's last
    matrix, its output layer. AdamW updates the output layer, the embeddings, the rest of the encoder, and all vectors.

    Source: Jordan et al. 2024, Muon: An optimizer for hidden layers in neural networks; torch.optim.Muon and
    torch.optim.AdamW. Differs: by default, steps are scaled to the size of AdamW's (Liu et al. 2025, Muon is Scalable
    for LLM Training, section 2.2), so that both parts use the same lr and weight decay as AdamW.

    Args:
        momentum: share of the previous average of gradients in the next one.
        nesterov: whether to use Nesterov's momentum.
        num_iterations: number of Newton-Schulz iterations of the orthogonalisation.
        scale: `adamw` scales steps to the size of AdamW's. `original` scales them as in Jordan et al. 2024, which needs
            a much larger lr, such as 0.02.
        beta1: AdamW's decay rate of the average of gradients.
        beta2: AdamW's decay rate of the average of squared gradients.
    """

    parts = (MUON, ADAMW)

    def __init__(
        self,
        *,
        momentum: float = 0.95,
        nesterov: bool = True,
        num_iterations: int = 5,
        scale: Literal["adamw", "original"] = "adamw",
        beta1: float = 0.9,
        beta2: float = 0.999,
    ) -> None:
        require_probability(momentum=momentum, beta1=beta1, beta2=beta2)
        require_positive(num_iterations=num_iterations)
        self.muon_options: dict[str, Any] = {
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_steps": num_iterations,
            "adjust_lr_fn": "match_rms_adamw" if scale == "adamw" else "original",
        }
        self.betas = (beta1, beta2)

    def assign_parts(self, block: str, matrices: Sequence[nn.Parameter]) -> list[str]:
        """Return `muon` for two-dimensional hidden matrices, and `adamw` for the remaining parameters."""
        is_hidden = block.startswith("layer.") or block == "head"
        parts = [MUON if is_hidden and matrix.ndim == 2 else ADAMW for matrix in matrices]
        if block == "head" and parts:
            parts[-1] = ADAMW
        return parts

    def create(self, groups: ParameterGroups) -> torch.optim.Optimizer:
        """Return one optimizer with both parts."""
        by_part = {part: [group for group in groups if group["part"] == part] for part in self.parts}
        muon = torch.optim.Muon(by_part[MUON], **self.muon_options)
        adamw = torch.optim.AdamW(by_part[ADAMW], betas=self.betas, fused=can_fuse(groups))
        return MuonWithAdamW(groups, {MUON: muon, ADAMW: adamw})


class MuonWithAdamW(torch.optim.Optimizer):
    """Several optimizers with one list of parameter groups and one state.

    Args:
        groups: the parameter groups of all parts; each has the name of its part under the key `part`.
        parts: the optimizers by name, created with these groups.
    """

    def __init__(self, groups: ParameterGroups, parts: dict[str, torch.optim.Optimizer]) -> None:
        super().__init__(groups, {})
        self.parts = parts

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes to copy; torch's own method omits all but its own."""
        return {**super().__getstate__(), "parts": self.parts}

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step with each part on its groups."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for name, part in self.parts.items():
            # Assigned in every step, because edits and load_state_dict replace the list and the state.
            part.param_groups = [group for group in self.param_groups if group["part"] == name]
            part.state = self.state
            part.step()
        return loss

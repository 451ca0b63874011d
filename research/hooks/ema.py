"""Evaluate with an average of the weights over steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from research.hooks.base import Hook, register_hook

if TYPE_CHECKING:
    from research.run import Run


@register_hook("ema")
class ExponentialMovingAverage(Hook):
    """Average the weights over steps: evaluate, test and save with the average, train without it.

    Source: Polyak & Juditsky 1992, Acceleration of Stochastic Approximation by Averaging; Tarvainen & Valpola 2017,
    Mean Teachers, section 2 (exponential). Differs: the decay is min(decay, (1 + steps) / (10 + steps)), so that the
    first steps do not weigh for ever.

    Args:
        decay: share of the old average in the new one.
    """

    def __init__(self, *, decay: float = 0.99) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"Expected decay from 0 to below 1, got {decay}.")
        self.decay = decay
        self.num_steps = 0
        self.averages: dict[str, Tensor] = {}
        self._weights: dict[str, Tensor] | None = None
        self._is_final = False

    def after_step(self, run: Run) -> None:
        """Let the averages follow; of what begins to train, the average begins where the weights are."""
        weights = _trained(run)
        self.averages = {name: self.averages.get(name, weight).clone() for name, weight in weights.items()} | {
            name: average for name, average in self.averages.items() if name not in weights
        }
        self.num_steps += 1
        decay = min(self.decay, (1 + self.num_steps) / (10 + self.num_steps))
        names = list(weights)
        torch._foreach_lerp_([self.averages[name] for name in names], [weights[name] for name in names], 1 - decay)

    def before_evaluate(self, run: Run, split: str) -> None:
        """Put the averages into the model."""
        if not self._is_final and self._weights is None:
            self._weights = self._put(run, self.averages)

    def after_evaluate(self, run: Run, split: str, metrics: dict[str, float]) -> None:
        """Put the weights back."""
        if self._weights is not None:
            self._put(run, self._weights)
            self._weights = None

    def after_edits(self, run: Run) -> None:
        """Forget what left the model, or began anew."""
        sizes = {name: parameter.shape for name, parameter in run.encoder_with_head.named_parameters()}
        self.averages = {
            name: average
            for name, average in self.averages.items()
            if sizes.get(name) == average.shape and name not in run.fresh
        }

    def on_train_end(self, run: Run) -> None:
        """Leave the averages in the model: it is saved and tested with them."""
        self._put(run, self.averages)
        self._is_final = True

    def _put(self, run: Run, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Put values into the model in place, and return what was there."""
        parameters = {name: p for name, p in run.encoder_with_head.named_parameters() if name in values}
        before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(values[name])
        return before

    def state_dict(self) -> dict[str, Any]:
        """Return the averages and how many steps are in them."""
        return {"num_steps": self.num_steps, "averages": self.averages}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back the averages."""
        self.num_steps, self.averages = state["num_steps"], state["averages"]

    def on_resume(self, run: Run) -> None:
        """Bring the averages to where the model is."""
        device = run.accelerator.device
        self.averages = {name: average.to(device) for name, average in self.averages.items()}


def _trained(run: Run) -> dict[str, Tensor]:
    return {name: p.detach() for name, p in run.encoder_with_head.named_parameters() if p.requires_grad}

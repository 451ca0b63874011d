"""Evaluate with a moving average of the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from research.hooks.averaged_weights import AveragedWeights
from research.training.hook import register_hook

if TYPE_CHECKING:
    from research.training.api import Run


@register_hook("ema")
class ExponentialMovingAverage(AveragedWeights):
    """Exponential moving average of the weights over steps.

    The model is evaluated, tested and saved with the averages. Training continues with the weights themselves.

    Source: Polyak & Juditsky 1992, Acceleration of Stochastic Approximation by Averaging; Tarvainen & Valpola 2017,
    Mean Teachers, section 2 (exponential). Differs: the decay is min(decay, (1 + steps) / (10 + steps)), so that the
    first steps do not dominate the average. Parameters that an edit creates or reinitialises, such as a new head or
    weights with merged adapters, are averaged from the edit on. Buffers are not averaged.

    Args:
        decay: share of the old average in the new one, at least 0 and less than 1.
    """

    def __init__(self, *, decay: float = 0.99) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"Expected a decay of at least 0 and less than 1; got {decay}.")
        self.decay = decay
        self.num_steps = 0

    def after_step(self, run: Run) -> None:
        """Update the averages.

        The average of a parameter starts at the parameter's value after the first step that trains it. If the parameter
        is frozen later, the average converges to the frozen value.
        """
        for parameter in run.encoder_with_head.parameters():
            if parameter.requires_grad and parameter not in self.averages:
                self.averages[parameter] = parameter.detach().clone()
        self.num_steps += 1
        decay = min(self.decay, (1 + self.num_steps) / (10 + self.num_steps))
        weights = [parameter.detach() for parameter in self.averages]
        torch._foreach_lerp_(list(self.averages.values()), weights, 1 - decay)

    def state_dict(self) -> dict[str, Any]:
        """Return the averages and the number of steps in them."""
        return {"num_steps": self.num_steps, **super().state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the averages and the number of steps in them."""
        super().load_state_dict(state)
        self.num_steps = state["num_steps"]

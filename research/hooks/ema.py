"""Evaluate with a moving average of the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from research.training.hook import Hook, register_hook

if TYPE_CHECKING:
    from research.training.api import Run


@register_hook("ema")
class ExponentialMovingAverage(Hook):
    """Exponential moving average of the weights over steps.

    The averages are used to evaluate and test the model, and are saved with it. Training continues with the weights
    themselves.

    Source: Polyak & Juditsky 1992, Acceleration of Stochastic Approximation by Averaging; Tarvainen & Valpola 2017,
    Mean Teachers, section 2 (exponential). Differs: the decay is min(decay, (1 + steps) / (10 + steps)), so that the
    first steps do not dominate the average. Parameters that an edit creates or reinitialises, such as a new head or
    weights with merged adapters, are averaged from the edit on.

    Args:
        decay: share of the old average in the new one, at least 0 and less than 1.
    """

    def __init__(self, *, decay: float = 0.99) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"Expected a decay of at least 0 and less than 1; got {decay}.")
        self.decay = decay
        self.num_steps = 0
        # By parameter, not by name: drop_layers changes the names of the remaining layers.
        self.averages: dict[nn.Parameter, Tensor] = {}
        self._names: dict[nn.Parameter, str] = {}
        self._loaded: dict[str, Tensor] = {}
        self._weights: dict[nn.Parameter, Tensor] | None = None
        self._is_final = False

    def on_train_start(self, run: Run) -> None:
        """Record the parameters' names, for checkpoints."""
        self._names = {parameter: name for name, parameter in run.encoder_with_head.named_parameters()}

    def on_resume(self, run: Run) -> None:
        """Assign the loaded averages to their parameters."""
        self.on_train_start(run)
        named = dict(run.encoder_with_head.named_parameters())
        self.averages = {named[name]: average.to(run.accelerator.device) for name, average in self._loaded.items()}
        self._loaded = {}

    def after_step(self, run: Run) -> None:
        """Update the averages. The average of a parameter that starts to train starts at its current value.

        A parameter that is frozen after training keeps its average, which converges to the parameter's value.
        """
        for parameter in run.encoder_with_head.parameters():
            if parameter.requires_grad and parameter not in self.averages:
                self.averages[parameter] = parameter.detach().clone()
        self.num_steps += 1
        decay = min(self.decay, (1 + self.num_steps) / (10 + self.num_steps))
        weights = [parameter.detach() for parameter in self.averages]
        torch._foreach_lerp_(list(self.averages.values()), weights, 1 - decay)

    def before_evaluate(self, run: Run, split: str) -> None:
        """Load the averages into the model."""
        if not self._is_final and self._weights is None:
            self._weights = self._swap(self.averages)

    def after_evaluate(self, run: Run, split: str, metrics: dict[str, float]) -> None:
        """Restore the weights."""
        if self._weights is not None:
            self._swap(self._weights)
            self._weights = None

    def after_edits(self, run: Run) -> None:
        """Drop the averages of parameters that were removed from the model or reinitialised."""
        self.on_train_start(run)
        self.averages = {
            parameter: average
            for parameter, average in self.averages.items()
            if parameter in self._names and parameter not in run.fresh
        }

    def on_train_end(self, run: Run) -> None:
        """Load the averages into the model for good, since it is tested and saved with them."""
        self._swap(self.averages)
        self._is_final = True

    def _swap(self, values: dict[nn.Parameter, Tensor]) -> dict[nn.Parameter, Tensor]:
        """Copy values into the parameters, and return the previous values."""
        before = {parameter: parameter.detach().clone() for parameter in values}
        with torch.no_grad():
            for parameter, value in values.items():
                parameter.copy_(value)
        return before

    def state_dict(self) -> dict[str, Any]:
        """Return the averages and the number of steps in them."""
        averages = {self._names[parameter]: average for parameter, average in self.averages.items()}
        return {"num_steps": self.num_steps, "averages": averages}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the averages; on_resume assigns them to their parameters."""
        self.num_steps, self._loaded = state["num_steps"], state["averages"]

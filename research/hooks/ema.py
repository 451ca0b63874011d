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

    The model is evaluated, tested and saved with the averages. Training continues with the weights themselves.

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
        # Keyed by parameter, not by name, because drop_layers renames the remaining layers.
        self.averages: dict[nn.Parameter, Tensor] = {}
        self._names: dict[nn.Parameter, str] = {}
        self._averages_by_name: dict[str, Tensor] = {}  # from a checkpoint, until on_resume
        self._training_weights: dict[nn.Parameter, Tensor] | None = None
        self._training_is_over = False

    def on_train_start(self, run: Run) -> None:
        """Record the parameters' names, for checkpoints."""
        self._record_names(run)

    def on_resume(self, run: Run) -> None:
        """Assign the averages of the checkpoint to their parameters."""
        self._record_names(run)
        parameters = dict(run.encoder_with_head.named_parameters())
        self.averages = {
            parameters[name]: average.to(run.accelerator.device) for name, average in self._averages_by_name.items()
        }
        self._averages_by_name = {}

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

    def before_evaluate(self, run: Run, split: str) -> None:
        """Load the averages into the model."""
        if not self._training_is_over and self._training_weights is None:
            self._training_weights = self._swap(self.averages)

    def after_evaluate(self, run: Run, split: str, metrics: dict[str, float]) -> None:
        """Load the training weights again."""
        if self._training_weights is not None:
            self._swap(self._training_weights)
            self._training_weights = None

    def after_edits(self, run: Run) -> None:
        """Drop the averages of parameters that were removed from the model or reinitialised."""
        self._record_names(run)
        self.averages = {
            parameter: average
            for parameter, average in self.averages.items()
            if parameter in self._names and parameter not in run.new_parameters
        }

    def on_train_end(self, run: Run) -> None:
        """Load the averages into the model for good, since it is tested and saved with them."""
        self._swap(self.averages)
        self._training_is_over = True

    def _record_names(self, run: Run) -> None:
        self._names = {parameter: name for name, parameter in run.encoder_with_head.named_parameters()}

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
        self.num_steps, self._averages_by_name = state["num_steps"], state["averages"]

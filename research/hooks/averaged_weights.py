"""Base class of hooks that evaluate and save the model with averages of its weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from research.settings.config import Choice, RunConfig
from research.system.sharded_tensors import match
from research.training.hook import HOOKS, Hook

if TYPE_CHECKING:
    from research.training.api import Run


def averaging_hooks(config: RunConfig) -> list[str]:
    """Return the names of the hooks in the settings that evaluate and save averages of the weights."""
    names = [Choice.of(hook, "hook").name for hook in config.hook]
    return [name for name in names if name in HOOKS and issubclass(HOOKS[name], AveragedWeights)]


class AveragedWeights(Hook):
    """Evaluates, tests and saves the model with averages of its weights, and trains on with the weights themselves.

    A subclass fills and updates `averages` in `after_step`. Parameters without an average keep their own weights.

    Averages of parameters that an edit removes or reinitialises are dropped. Buffers, such as the running statistics of
    batch normalisation in a head of your own, are not averaged: the model keeps those of training.
    """

    def __init__(self) -> None:
        # Keyed by parameter, not by name, because drop_layers renames the remaining layers.
        self.averages: dict[nn.Parameter, Tensor] = {}
        self._names: dict[nn.Parameter, str] = {}
        self._averages_by_name: dict[str, Tensor] = {}  # from a checkpoint, until on_resume
        self._training_weights: dict[nn.Parameter, Tensor] | None = None
        self._training_is_over = False

    def timeline(self, config: RunConfig, blocks: Sequence[str]) -> list[dict[str, Any]]:
        """Return no edits, after checking that no other hook replaces the weights in evaluations.

        Raises:
            ValueError: if there is another hook of this kind: each would restore the weights of the other.
        """
        averaging = averaging_hooks(config)
        if len(averaging) > 1:
            raise ValueError(
                f"Expected at most one hook that averages weights; got {', '.join(averaging)}. Remove all but one."
            )
        return []

    def on_train_start(self, run: Run) -> None:
        """Record the parameters' names, for checkpoints."""
        self._record_names(run)

    def on_resume(self, run: Run) -> None:
        """Assign the averages of the checkpoint to their parameters."""
        self._record_names(run)
        parameters = dict(run.encoder_with_head.named_parameters())
        self.averages = {
            parameters[name]: match(average, parameters[name]) for name, average in self._averages_by_name.items()
        }
        self._averages_by_name = {}

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

    def state_dict(self) -> dict[str, Any]:
        """Return the averages by the names of their parameters."""
        return {"averages": {self._names[parameter]: average for parameter, average in self.averages.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the averages; on_resume assigns them to their parameters."""
        self._averages_by_name = state["averages"]

    def _record_names(self, run: Run) -> None:
        self._names = {parameter: name for name, parameter in run.encoder_with_head.named_parameters()}

    def _swap(self, values: dict[nn.Parameter, Tensor]) -> dict[nn.Parameter, Tensor]:
        """Copy values into the parameters, and return the previous values."""
        before = {parameter: parameter.detach().clone() for parameter in values}
        with torch.no_grad():
            for parameter, value in values.items():
                parameter.copy_(value)
        return before

"""Evaluate with an equal average of the weights at several times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from research.hooks.averaged_weights import AveragedWeights
from research.settings.times import parse_time
from research.training.hook import register_hook

if TYPE_CHECKING:
    from research.training.api import Run


@register_hook("swa")
class StochasticWeightAveraging(AveragedWeights):
    """Stochastic weight averaging: an equal average of the weights at regular times, from a start on.

    As soon as there is an average, the model is evaluated, tested and saved with it. Training continues with the
    weights themselves.

    Source: Izmailov et al. 2018, Averaging Weights Leads to Wider Optima and Better Generalization, algorithm 1.
    Differs: the learning rate is that of --schedule; the paper's is cyclical, or high and constant. Parameters that are
    unfrozen, created or reinitialised after the start are averaged from then on. Buffers keep their values of training:
    no pass over the rows computes the statistics of batch normalisation again, which text encoders do not have.

    Args:
        start: time of the first weights in the average, such as `50%`.
        every: time between two weights in the average, such as `10%` or `1ep`.
    """

    def __init__(self, *, start: str = "50%", every: str = "10%") -> None:
        super().__init__()
        self.start, self.every = parse_time(start), parse_time(every)
        if self.every.value == 0:
            raise ValueError(f"Expected the option 'every' to be a time above 0, got '{every}'.")
        self.num_averaged: dict[nn.Parameter, int] = {}
        """Number of weights in the average of each parameter."""
        self._num_averaged_by_name: dict[str, int] = {}  # from a checkpoint, until on_resume

    def on_resume(self, run: Run) -> None:
        """Assign the averages of the checkpoint; drop them if averaging starts later, as it may in a fork."""
        super().on_resume(run)
        self.num_averaged = {
            parameter: self._num_averaged_by_name[self._names[parameter]] for parameter in self.averages
        }
        self._num_averaged_by_name = {}
        if self.averages and run.clock.step < self.start.to_steps(run.clock):
            run.print(f"The weights averaged so far are dropped: averaging starts at {self.start}.")
            self.averages, self.num_averaged = {}, {}

    def after_step(self, run: Run) -> None:
        """Add the weights to the averages if it is time."""
        steps = run.clock.step - max(1, self.start.to_steps(run.clock))
        if steps < 0 or steps % self.every.to_period(run.clock):
            return
        for parameter in run.encoder_with_head.parameters():
            if parameter in self.averages:
                self.num_averaged[parameter] += 1
                # In place, as a running mean: no sum could overflow, and no list of weights takes memory.
                self.averages[parameter].lerp_(parameter.detach(), 1 / self.num_averaged[parameter])
            elif parameter.requires_grad:
                self.averages[parameter], self.num_averaged[parameter] = parameter.detach().clone(), 1

    def after_edits(self, run: Run) -> None:
        """Drop the averages of parameters that were removed from the model or reinitialised."""
        super().after_edits(run)
        self.num_averaged = {parameter: self.num_averaged[parameter] for parameter in self.averages}

    def on_train_end(self, run: Run) -> None:
        """Load the averages into the model for good, or report that there are none."""
        super().on_train_end(run)
        if not self.averages:
            run.print(
                f"The hook 'swa' averaged no weights: it starts at {self.start}, and the run ended after step "
                f"{run.clock.step:,}. The model has the weights of the last step."
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the averages and the number of weights in each."""
        num_averaged = {self._names[parameter]: number for parameter, number in self.num_averaged.items()}
        return {"num_averaged": num_averaged, **super().state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the averages; on_resume assigns them to their parameters."""
        super().load_state_dict(state)
        self._num_averaged_by_name = state["num_averaged"]

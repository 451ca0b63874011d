"""Skip the optimizer updates of steps with a loss spike."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any

from research.training.hook import Hook, register_hook

if TYPE_CHECKING:
    from research.training.api import Run

MIN_RELATIVE_DEVIATION = 0.01
"""Smallest standard deviation that is used to find spikes, as a share of the mean loss."""


@register_hook("loss_spike_guard")
class LossSpikeGuard(Hook):
    """Skip the optimizer update of steps whose loss is far above the losses of the preceding steps.

    Source: Chowdhery et al. 2022, PaLM, section 5.1. Differs: the step itself is skipped; in the paper, training
    restarted from an earlier checkpoint and skipped hundreds of batches.

    Args:
        threshold: number of standard deviations above the mean of the preceding losses beyond which a loss is a spike.
        window: number of preceding losses. No step is skipped until that many have been recorded.
        max_skips: number of consecutive skipped steps after which the run stops.
    """

    def __init__(self, *, threshold: float = 6.0, window: int = 50, max_skips: int = 10) -> None:
        if threshold <= 0 or window < 2 or max_skips < 1:
            raise ValueError(
                "Expected a threshold above 0, a window of 2 or more and max_skips of 1 or more, got "
                f"{threshold}, {window} and {max_skips}."
            )
        self.threshold = threshold
        self.window = window
        self.max_skips = max_skips
        self.losses: list[float] = []
        self.num_skips = 0
        """Number of steps skipped in a row."""

    def before_step(self, run: Run) -> None:
        """Skip the step if its loss is a spike."""
        loss = run.step_loss
        if len(self.losses) == self.window:
            mean = statistics.mean(self.losses)
            # If losses hardly vary, a small rise is not a spike.
            bound = mean + self.threshold * max(statistics.stdev(self.losses), MIN_RELATIVE_DEVIATION * abs(mean))
            if loss > bound:
                self.num_skips += 1
                run.skip_step(f"a loss of {loss:.4f} is a spike: above {bound:.4f}")
                run.log({"loss_spike": loss})
                if self.num_skips >= self.max_skips:
                    run.stop(f"{self.num_skips} steps in a row had a loss above {bound:.4f}")
                return
        self.num_skips = 0
        if math.isfinite(loss):  # otherwise --on_nonfinite applies
            self.losses = [*self.losses, loss][-self.window :]

    def on_resume(self, run: Run) -> None:
        """Drop the losses of a fork's parent if its objective or its inputs differ from the fork's."""
        if run.objective_differs or run.inputs_differ:
            self.losses = []

    def after_edits(self, run: Run) -> None:
        """Drop the losses, since an edit may have changed their scale."""
        self.losses = []

    def state_dict(self) -> dict[str, Any]:
        """Return the last losses and the number of consecutive skipped steps."""
        return {"losses": self.losses, "num_skips": self.num_skips}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""
        self.losses, self.num_skips = list(state["losses"]), state["num_skips"]

"""A plugin for the tests: a hook that raises an error after a step, and a hook that makes a loss NaN."""

from __future__ import annotations

import dataclasses
import os

from research.data.batches.batch import Batch
from research.training.api import Run
from research.training.hook import Hook, register_hook


@register_hook("fail_at_step")
class FailAtStep(Hook):
    """Fail after the step given by the environment variable FAIL_AT_STEP; never if it is not set."""

    def after_step(self, run: Run) -> None:
        """Raise an error after the given step."""
        if run.clock.step == int(os.environ.get("FAIL_AT_STEP", "0")):
            raise RuntimeError("this test interrupts the run here")


@register_hook("poison")
class Poison(Hook):
    """Make the loss of one row NaN in step 3, on the main process."""

    def on_batch(self, run: Run, batch: Batch) -> Batch | None:
        """In step 3, return the batch with NaN as the weight of its first row; otherwise keep the batch."""
        if run.clock.step != 2 or not run.is_main:  # the clock counts finished steps: 2 during step 3
            return None
        weights = batch.weights.clone()
        weights[0] = float("nan")
        return dataclasses.replace(batch, weights=weights)

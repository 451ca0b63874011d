"""A plugin for the tests: hooks that make a run fail at a known step."""

from __future__ import annotations

import dataclasses
import os

from research.data.batches.batch import Batch
from research.training.api import Run
from research.training.hook import Hook, register_hook


@register_hook("fail_at_step")
class FailAtStep(Hook):
    """Fail after the step that the environment's FAIL_AT_STEP names."""

    def after_step(self, run: Run) -> None:
        """Fail, if it is time."""
        if run.clock.step == int(os.environ.get("FAIL_AT_STEP", "0")):
            raise RuntimeError("this test cuts the run here")


@register_hook("poison")
class Poison(Hook):
    """Make the loss of one example of step 3 not a number, on the process that has it."""

    def on_batch(self, run: Run, batch: Batch) -> Batch | None:
        """Change the weight of the row."""
        if run.clock.step != 2 or not run.is_main:
            return None
        weights = batch.weights.clone()
        weights[0] = float("nan")
        return dataclasses.replace(batch, weights=weights)

"""A plugin for test_gradients: saves the gradients of the first and the last step."""

from __future__ import annotations

import os
from pathlib import Path

from safetensors.torch import save_file

from research.data.batches.batch import Batch
from research.training.api import Run
from research.training.hook import Hook, register_hook
from research.training.run import TrainingRun


@register_hook("record_gradients")
class RecordGradients(Hook):
    """Save the gradients before clipping.

    Args:
        folder: folder for the files of gradients.
        divide_by_processes_again: whether to divide the gradients by the number of processes a second time, a mistake
            that the test must detect.
    """

    def __init__(self, *, folder: str, divide_by_processes_again: bool = False) -> None:
        self.folder = Path(folder)
        self.divide_by_processes_again = divide_by_processes_again

    def on_batch(self, run: Run, batch: Batch) -> None:
        """Divide the loss, and so the gradients, by the number of processes if the option is set."""
        if self.divide_by_processes_again:
            assert isinstance(run, TrainingRun)
            run.loss_scale /= run.accelerator.num_processes

    def before_step(self, run: Run) -> None:
        """Save the gradients if this is the first or the last step."""
        if run.clock.step not in (0, run.clock.total_steps - 1):  # the clock counts finished steps: 0 in the first
            return
        gradients = {
            name: parameter.grad.clone()
            for name, parameter in run.encoder_with_head.named_parameters()
            if parameter.grad is not None
        }
        self.folder.mkdir(exist_ok=True)
        save_file(gradients, self.folder / f"step-{run.clock.step}-process-{os.environ.get('RANK', '0')}.safetensors")

"""A plugin for test_gradients: writes the gradients of the first and the last step."""

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
    """Write the gradients before clipping.

    Args:
        folder: folder for the files of gradients.
        divide_by_processes_again: whether to make the mistake that the test must detect.
    """

    def __init__(self, *, folder: str, divide_by_processes_again: bool = False) -> None:
        self.folder = Path(folder)
        self.wrong = divide_by_processes_again

    def on_batch(self, run: Run, batch: Batch) -> None:
        """Make the mistake, if requested."""
        if self.wrong:
            assert isinstance(run, TrainingRun)
            run.loss_scale /= run.accelerator.num_processes

    def before_step(self, run: Run) -> None:
        """Write the gradients of the step."""
        if run.clock.step not in (0, run.clock.total_steps - 1):
            return
        gradients = {
            name: parameter.grad.clone()
            for name, parameter in run.encoder_with_head.named_parameters()
            if parameter.grad is not None
        }
        self.folder.mkdir(exist_ok=True)
        save_file(gradients, self.folder / f"step-{run.clock.step}-process-{os.environ.get('RANK', '0')}.safetensors")

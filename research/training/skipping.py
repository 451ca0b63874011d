"""Whether a step is skipped: on all processes or on none."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from accelerate import Accelerator

from research.training.gathering import sum_over_processes
from research.training.hook import Hook


def agree_on_skipping(accelerator: Accelerator, hooks: Iterable[Hook], *, skips: bool, step: int) -> None:
    """See to it that all processes skip a step or none does; called on every process.

    Args:
        accelerator: this process's.
        hooks: of the run, the same ones on every process.
        skips: whether this process wants to skip the step.
        step: number of the step, from 1.
    Raises:
        ValueError: on every process, if only some of them want to skip it.
    """
    # Whether a hook could ask is the same everywhere, so that nothing is exchanged where none can.
    if accelerator.num_processes == 1 or all(type(hook).before_step is Hook.before_step for hook in hooks):
        return
    num_skipping = sum_over_processes(accelerator, torch.tensor(float(skips), device=accelerator.device))
    if num_skipping not in (0, accelerator.num_processes):
        raise ValueError(
            f"All processes must skip a step or none; {num_skipping:.0f} of {accelerator.num_processes} want to skip "
            f"step {step}. Decide by numbers that are the same everywhere: run.step_loss."
        )

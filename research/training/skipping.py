"""Check that a step is skipped on all processes or on none."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from accelerate import Accelerator

from research.training.gathering import sum_over_processes
from research.training.hook import Hook


def check_skip_agreement(accelerator: Accelerator, hooks: Iterable[Hook], *, skips: bool, step: int) -> None:
    """Check that all processes skip a step or none does; called on every process.

    Args:
        accelerator: this process's accelerator.
        hooks: the run's hooks, the same on every process.
        skips: whether this process requests to skip the step.
        step: number of the step, from 1.
    Raises:
        ValueError: on every process, if only some processes request to skip the step.
    """
    # Only a hook with before_step can skip a step. All processes have the same hooks, so all or none return here.
    if accelerator.num_processes == 1 or all(type(hook).before_step is Hook.before_step for hook in hooks):
        return
    num_skipping = sum_over_processes(accelerator, torch.tensor(float(skips), device=accelerator.device))
    if num_skipping not in (0, accelerator.num_processes):
        raise ValueError(
            f"All processes or none must skip a step; {num_skipping:.0f} of {accelerator.num_processes} processes "
            f"requested to skip step {step}. Base the decision on values that are the same on every process, such as "
            "run.step_loss."
        )

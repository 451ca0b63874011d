"""The number of workers of a study on this machine, which `--workers auto` chooses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from research.settings.config import RunConfig
from research.studies.devices import DeviceAssignment, assign_devices, usable_devices
from research.studies.launcher import Launcher, read_launcher
from research.studies.progress import format_count
from research.studies.worker import trains_head_only
from research.system.messages import logger
from research.training.accelerator import default_num_threads


def assign_workers(
    workers: int | Literal["auto"], accelerate_config: str | None, configs: Sequence[RunConfig], num_trials: int | None
) -> DeviceAssignment:
    """Choose the number of workers if it is `auto`, assign this machine's GPUs to them, and report both.

    Args:
        workers: number of workers, or auto.
        accelerate_config: config file of `accelerate launch`, or None.
        configs: settings of the trials; for a search, of trials at the ends of its space.
        num_trials: largest number of trials that can run at the same time; None for no limit.
    Raises:
        ValueError: if GPUs are visible, but fewer than a trial has processes.
    """
    launcher = read_launcher(accelerate_config)
    if workers == "auto":
        number, reason = _choose_number(launcher, configs, has_launcher=accelerate_config is not None)
        if num_trials is not None and 0 < num_trials < number:
            number, reason = num_trials, "one for each trial"
        logger.info(f"--workers auto: {format_count(number, 'worker')}, {reason}.")
    else:
        number = workers
    devices = assign_devices(launcher, number)
    sharing = devices.describe_sharing()
    if sharing is not None:
        logger.info(sharing)
    return devices


def _choose_number(launcher: Launcher, configs: Sequence[RunConfig], *, has_launcher: bool) -> tuple[int, str]:
    """Return the number of workers that use this machine fully, and the reason for it."""
    devices = usable_devices(launcher)
    if devices:
        num_each = "its own GPU" if launcher.num_processes == 1 else f"its own {launcher.num_processes} GPUs"
        return max(1, len(devices) // launcher.num_processes), f"each with {num_each}"
    if has_launcher or not all(trains_head_only(config) for config in configs):
        return 1, "because there is no GPU, and a trial that trains more than a head uses all cores"
    return default_num_threads(), "one for each core, because all trials train only a head on stored hidden states"

"""Assignment of GPUs to the workers of a study."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from research.studies.launcher import Launcher

VISIBLE_DEVICES = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class DeviceAssignment:
    """Assignment of this machine's GPUs to workers.

    Args:
        devices: names of the GPUs in the form of CUDA_VISIBLE_DEVICES.
        num_workers: number of trials that run at the same time.
        num_processes: number of processes of each trial; each needs its own GPU.
    """

    devices: Sequence[str]
    num_workers: int
    num_processes: int

    def for_worker(self, worker: int) -> tuple[str, ...]:
        """Return the GPUs of a worker; empty if there are no GPUs, or only one worker, which may use all of them.

        Args:
            worker: number of the worker, from 0.
        """
        if not self.devices or self.num_workers == 1:
            return ()
        num_per_worker = min(self.num_processes, len(self.devices))
        first = worker * num_per_worker
        # If there are too few GPUs, the assignment starts again from the first one.
        return tuple(self.devices[(first + index) % len(self.devices)] for index in range(num_per_worker))

    def describe_sharing(self) -> str | None:
        """Return a message for the user if processes share GPUs, otherwise None."""
        num_needed = self.num_workers * self.num_processes
        if self.num_workers == 1 or not 0 < len(self.devices) < num_needed:
            return None
        return (
            f"{self.num_workers} simultaneous trials need {num_needed} GPUs, but only {len(self.devices)} are visible, "
            "so trials share GPUs."
        )


def assign_devices(launcher: Launcher, num_workers: int) -> DeviceAssignment:
    """Assign the GPUs that this process may use to workers.

    Args:
        launcher: how each trial is started.
        num_workers: number of trials that run at the same time.
    Raises:
        ValueError: if GPUs are visible, but fewer than a trial has processes.
    """
    devices = visible_devices(launcher) if launcher.uses_gpus else []
    if 0 < len(usable_devices(launcher)) < launcher.num_processes:
        raise ValueError(
            f"Each trial has {launcher.num_processes} processes and needs as many GPUs, but only {len(devices)} are "
            f"visible ({', '.join(devices)}). Change num_processes in --accelerate_config, or {VISIBLE_DEVICES}."
        )
    return DeviceAssignment(devices, num_workers, launcher.num_processes)


def visible_devices(launcher: Launcher) -> list[str]:
    """Return the names of the GPUs that trials may use: their indices, or the UUIDs of GPUs or MIG slices.

    The launcher's list takes precedence over CUDA_VISIBLE_DEVICES, as in `accelerate launch`. Schedulers such as SLURM
    set this variable to the GPUs of the job.
    """
    listed = os.environ.get(VISIBLE_DEVICES) if launcher.gpu_ids is None else launcher.gpu_ids
    if listed is None:
        return [str(index) for index in range(_count_devices())]
    names: list[str] = []
    for name in (part.strip() for part in listed.split(",")):
        if not name or name.startswith("-"):  # CUDA ignores everything after such an entry
            break
        names.append(name)
    return names if len(set(names)) == len(names) else []  # CUDA sees no device if a name is repeated


def usable_devices(launcher: Launcher) -> list[str]:
    """Return the names of the GPUs that trials may use. A list of GPUs has no effect on a machine that has none."""
    return visible_devices(launcher) if launcher.uses_gpus and _count_devices() > 0 else []


def _count_devices() -> int:
    import torch

    return torch.cuda.device_count()  # does not initialise CUDA in this process

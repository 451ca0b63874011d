"""Which GPUs each worker of a study gets."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from research.studies.launcher import Launcher

VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class DeviceAssignment:
    """The GPUs of this machine, shared out among workers.

    Args:
        devices: names of the GPUs, as CUDA_VISIBLE_DEVICES has them.
        num_workers: trials at a time.
        num_processes: processes of a trial; each needs a GPU of its own.
    """

    devices: Sequence[str]
    num_workers: int
    num_processes: int

    def of(self, worker: int) -> tuple[str, ...]:
        """Return the GPUs of a worker; empty if there are none to share out.

        Args:
            worker: its number, from 0.
        """
        if not self.devices or self.num_workers == 1:
            return ()
        num_used = min(self.num_processes, len(self.devices))
        first = worker * num_used
        return tuple(self.devices[(first + place) % len(self.devices)] for place in range(num_used))

    def describe(self) -> str | None:
        """Return a message for the user, or None if every process has a GPU of its own."""
        num_needed = self.num_workers * self.num_processes
        if self.num_workers == 1 or not 0 < len(self.devices) < num_needed:
            return None
        return (
            f"{self.num_workers} trials at a time need {num_needed} GPUs, and {len(self.devices)} are visible: trials "
            "share GPUs."
        )


def assign_devices(launcher: Launcher, num_workers: int) -> DeviceAssignment:
    """Share out the GPUs that this process may use.

    Args:
        launcher: how each trial is started.
        num_workers: trials at a time.
    Raises:
        ValueError: if a trial has more processes than there are GPUs.
    """
    devices = visible_devices(launcher) if launcher.uses_gpus else []
    if 0 < len(devices) < launcher.num_processes and _count_devices() > 0:
        raise ValueError(
            f"Each trial has {launcher.num_processes} processes, which need as many GPUs; {len(devices)} are visible "
            f"({', '.join(devices)}). Set num_processes in --accelerate_config, or {VISIBLE}."
        )
    return DeviceAssignment(devices, num_workers, launcher.num_processes)


def visible_devices(launcher: Launcher) -> list[str]:
    """Return the names of the GPUs that trials may use: numbers, or names of GPUs and of MIG slices.

    The launcher's own list wins over CUDA_VISIBLE_DEVICES, as in `accelerate launch`. Schedulers such as SLURM set the
    variable to what a job was given, so it says what there is to share out.
    """
    listed = os.environ.get(VISIBLE) if launcher.gpu_ids is None else launcher.gpu_ids
    if listed is None:
        return [str(index) for index in range(_count_devices())]
    names: list[str] = []
    for name in (part.strip() for part in listed.split(",")):
        if not name or name.startswith("-"):  # CUDA sees nothing behind it
            break
        names.append(name)
    return names if len(set(names)) == len(names) else []  # with a name twice CUDA sees no device


def _count_devices() -> int:
    import torch

    return torch.cuda.device_count()  # asks the driver's library; CUDA is not initialised here

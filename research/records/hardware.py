"""The hardware of a run, for readers who compare times."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import torch

_LINUX_PROCESSORS = Path("/proc/cpuinfo")


def device_name(device: torch.device) -> str:
    """Return the name of a GPU or, for a CPU, of its model, such as "Intel(R) Xeon(R) Platinum 8481C"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return _processor_name() if device.type == "cpu" else device.type


def _processor_name() -> str:
    """Return the model of the processor or, if the system does not tell, its architecture."""
    name = ""
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        name = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    elif _LINUX_PROCESSORS.is_file():
        lines = _LINUX_PROCESSORS.read_text(encoding="utf-8", errors="replace").splitlines()
        names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
        name = next(names, "")
    return name or platform.processor() or platform.machine()

"""The parts of a config file of `accelerate launch` that a study needs to know."""

from __future__ import annotations

from dataclasses import dataclass

import yaml

from research.system.errors import one_line
from research.system.paths import expand_path


@dataclass(frozen=True)
class Launcher:
    """How each trial of a study is started."""

    num_processes: int = 1
    """Number of processes of a trial on this machine."""
    uses_gpus: bool = True
    """Whether trials run on GPUs if there are any."""
    gpu_ids: str | None = None
    """List of GPUs in the form of CUDA_VISIBLE_DEVICES; None for all GPUs."""


def read_launcher(accelerate_config: str | None) -> Launcher:
    """Read a config file of `accelerate launch`.

    Args:
        accelerate_config: path of the file; None starts each trial as a single plain process.
    Raises:
        ValueError: if the file cannot be read or is invalid.
    """
    if accelerate_config is None:
        return Launcher()
    try:
        content = yaml.safe_load(expand_path(accelerate_config).read_text(encoding="utf-8"))
        num_processes = max(1, int(content.get("num_processes", 1)) // int(content.get("num_machines", 1)))
        gpu_ids = str(content.get("gpu_ids") or "all")
        return Launcher(num_processes, not content.get("use_cpu", False), None if gpu_ids == "all" else gpu_ids)
    except OSError as error:
        raise ValueError(f"Cannot read --accelerate_config {accelerate_config}: {error.strerror}.") from None
    except (yaml.YAMLError, AttributeError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ValueError(
            f"Cannot read --accelerate_config {accelerate_config}: {one_line(error)}. Expected a file as written by "
            "`accelerate config`, in which num_processes and num_machines, if given, are integers above 0."
        ) from None

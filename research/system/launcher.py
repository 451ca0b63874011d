"""Read what the launcher (accelerate, torchrun, MPI, Slurm) requested.

This module does not import torch, so that the launch can be checked before torch is loaded.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

PARENT_PID = os.getppid()
"""Id of the process that started this one. Read at import, because the parent may exit at any time."""
PROCESS_COUNT_VARIABLES = (
    "WORLD_SIZE",
    "OMPI_COMM_WORLD_SIZE",
    "PMI_SIZE",
    "MV2_COMM_WORLD_SIZE",
    "SLURM_STEP_NUM_TASKS",
)
"""Environment variables in which torchrun, MPI implementations and Slurm store the number of launched processes."""
SHARDING_VARIABLES = {
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "a parallelism config",
}
"""Environment variables with which accelerate requests sharding: splitting the model over processes."""
SHARDING_FLAGS = {
    "use_fsdp": "FSDP",
    "use_deepspeed": "DeepSpeed",
    "use_megatron_lm": "Megatron-LM",
    "use_parallelism_config": "a parallelism config",
}
"""Flags of `accelerate launch` that request sharding; accelerate ignores them if --cpu is given."""
SHARDED_TYPES = {"FSDP": "FSDP", "DEEPSPEED": "DeepSpeed", "MEGATRON_LM": "Megatron-LM"}
"""Values of distributed_type in accelerate's config file that request sharding."""
DEFAULT_CONFIG = "default_config.yaml"
"""Name of the config file that accelerate reads if the command line names no other file."""


@dataclass(frozen=True)
class LaunchRequest:
    """Options given to `accelerate launch`; None for options that were not given."""

    num_processes: int | None = None
    """Number of processes over all machines."""
    wants_gpu: bool = False
    """Whether GPUs were requested explicitly; otherwise accelerate uses whatever device it finds."""
    sharding: str | None = None
    """Method that would split the model over processes."""
    precision: str | None = None
    """Floating-point precision of the forward pass, if given as a flag of `accelerate launch`; otherwise None."""


def num_launched_processes() -> int:
    """Return the number of processes that the launcher started, even if they are not connected to each other."""
    return max(int(os.environ.get(name) or 1) for name in PROCESS_COUNT_VARIABLES)


def was_launched() -> bool:
    """Return whether accelerate or torchrun started this process, rather than a shell or another program."""
    return not {"ACCELERATE_DYNAMO_BACKEND", "TORCHELASTIC_RUN_ID"}.isdisjoint(os.environ)


def find_launcher() -> int | None:
    """Return the id of the process that launched this one; None if there was no launcher."""
    if not was_launched():
        return None
    # accelerate's notebook_launcher forks the notebook's process, after this module was imported there.
    parent = multiprocessing.parent_process()
    return PARENT_PID if parent is None else parent.pid


def was_forked_by_notebook() -> bool:
    """Return whether accelerate's notebook_launcher started this process, by forking the process of a notebook."""
    return was_launched() and multiprocessing.parent_process() is not None


def find_start_time() -> float:
    """Return the time at which the run started, in seconds since 1970; call this when the process starts.

    A restart by torchrun does not change the time.
    """
    # torchrun keeps running when it restarts the processes of the run; a notebook also keeps running between runs.
    if "TORCHELASTIC_RUN_ID" in os.environ and not was_forked_by_notebook():
        return psutil.Process(os.getppid()).create_time()
    return time.time()


def is_switch_on(switch: str) -> bool:
    """Return whether an environment variable, with which the launcher switches something on, is set to true or 1."""
    return os.environ.get(switch, "false").lower() in ("1", "true")


def check_launch() -> None:
    """Check that the run can do what the launcher requested; accelerate silently ignores some requests.

    Raises:
        ValueError: if the launch would split the model over processes, requested more processes than were started, or
            has an unknown precision.
    """
    request = read_request()
    for name in (*(name for switch, name in SHARDING_VARIABLES.items() if is_switch_on(switch)), request.sharding):
        if name is not None:
            raise ValueError(
                f"The launcher requests {name}, with which edits do not work. To split the model over the processes, "
                "launch with accelerate_configs/fsdp2_multi_gpu.yaml and pass --shard fsdp2 to run.py."
            )
    num_started = num_launched_processes()
    if request.num_processes not in (None, num_started):
        raise ValueError(
            f"accelerate launch was asked for {request.num_processes} processes but started {num_started}. To use "
            "several processes, launch with accelerate_configs/cpu_2_processes.yaml, or multi_gpu.yaml on GPUs."
        )
    precision = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if precision not in ("no", "bf16", "fp16"):
        raise ValueError(f"The launcher requests the precision {precision}; expected no, bf16 or fp16.")


def read_requested_precision() -> str | None:
    """Return the precision requested from the launcher; None if the launcher leaves the choice to run.py."""
    precision = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    return precision if precision != "no" else read_request().precision


def read_request() -> LaunchRequest:
    """Return the options of the `accelerate launch` that started this process, from its flags and its config file."""
    try:
        command = psutil.Process(os.getppid()).cmdline()
    except psutil.Error:  # the parent has exited, or belongs to another user
        return LaunchRequest()
    return parse_launch(command, Path(sys.argv[0]).name)


def parse_launch(command: Sequence[str], script: str) -> LaunchRequest:
    """Parse a command line of `accelerate launch`; any other command gives an empty request.

    Args:
        command: command line of the launcher.
        script: file name of the script; arguments after it belong to the script.
    """
    names = [Path(argument).name for argument in command]
    # "python" or "python -m" may precede the launcher.
    if not {"accelerate-launch", "accelerate.commands.launch", "launch.py"}.intersection(names[:3]) and not (
        "accelerate" in names[:2] and "launch" in names[:3]
    ):
        return LaunchRequest()
    launcher_arguments = command[: names.index(script)] if script in names else command
    flags = _read_flags(launcher_arguments)
    config = _read_config(flags.get("config_file"))
    num_processes = flags.get("num_processes", config.get("num_processes"))
    wants_gpu = "multi_gpu" in flags or config.get("distributed_type") == "MULTI_GPU"
    wants_cpu = not {"cpu", "use_cpu"}.isdisjoint(flags) or bool(config.get("use_cpu"))
    return LaunchRequest(
        None if num_processes is None else int(num_processes),
        wants_gpu and not wants_cpu,
        _read_sharding(flags, config),
        flags.get("mixed_precision"),
    )


def _read_sharding(flags: Mapping[str, str], config: Mapping[str, Any]) -> str | None:
    """Return the method that would split the model. The config file is used only if no flag decides."""
    requested = [name for flag, name in SHARDING_FLAGS.items() if flag in flags]
    if requested or "multi_gpu" in flags:
        return requested[0] if requested else None
    if config.get("parallelism_config"):
        return SHARDING_FLAGS["use_parallelism_config"]
    return SHARDED_TYPES.get(str(config.get("distributed_type")))


def _read_flags(arguments: Sequence[str]) -> dict[str, str]:
    """Return the values of flags by name, with underscores; accelerate also accepts hyphens."""
    values = {}
    for argument, following in itertools.zip_longest(arguments, arguments[1:], fillvalue=""):
        if argument.startswith("--"):
            name, equals, value = argument[2:].partition("=")
            # A flag without a value gets the next argument as its value, which nobody reads.
            values[name.replace("-", "_")] = value if equals else following
    return values


def _read_config(path: str | None) -> dict[str, Any]:
    """Return the content of the config file; by default, the one in accelerate's cache."""
    home = os.environ.get("HF_HOME", Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface")
    file = Path(path or Path(home) / "accelerate" / DEFAULT_CONFIG).expanduser()
    if path is None and not file.is_file():
        return {}
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):  # the launcher's working directory may be different
        return {}
    return config if isinstance(config, dict) else {}

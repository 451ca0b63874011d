"""Join the processes that a launcher started, and see to it that they know of each other."""

from __future__ import annotations

import atexit
import gc
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, cast

import psutil
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.tracking import TensorBoardTracker
from accelerate.utils import DistributedDataParallelKwargs, TorchDynamoPlugin, broadcast_object_list

from research.config import RunConfig
from research.durable import reporting_failure
from research.heap import return_freed_memory

PARENT = os.getppid()
"""What started this process: early, since it may end at any time."""
SUPERVISOR = "MIDWAY_SUPERVISOR"
"""Environment variable with the process that a run ends with: the worker of a study."""
Precision = Literal["auto", "no", "bf16", "fp16"]
LAUNCHER_SIZES = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
"""Environment variables in which torchrun, the MPIs and Slurm say how many processes they started."""


def create_accelerator(config: RunConfig, directory: str) -> Accelerator:
    """Return this process's accelerator; sets the number of threads and checks the launch.

    Args:
        config: settings; uses mixed_precision, log_with, num_threads and deterministic.
        directory: where trackers write.
    Raises:
        ValueError: if the launched processes do not see each other, or the precision cannot be had here.
    """
    num_processes = num_launched()
    if num_processes > 1 and not torch.cuda.is_available():
        # Without it, processes that accelerate launched through torchrun onto CPUs each believe that they are alone.
        os.environ["ACCELERATE_USE_CPU"] = "true"
    if num_processes > 1:
        atexit.unregister(_part)
        atexit.register(_part)
    if was_restarted() and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        _join_again()
    # Of a run before this one in the same process, whose precision accelerate would insist on.
    AcceleratorState._reset_state()
    accelerator = Accelerator(
        mixed_precision=choose_precision(config),
        dynamo_plugin=TorchDynamoPlugin(backend="no"),  # --compile does that, since edits must compile again
        gradient_accumulation_steps=1,  # the loop sums micro-batches itself; the environment may say otherwise
        # None instead of an empty list, at which accelerate warns.
        log_with=[TensorBoardTracker(name, directory) if name == "tensorboard" else name for name in config.log_with]
        or None,
        project_dir=directory,
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)],
    )
    if accelerator.num_processes != num_processes:
        raise ValueError(
            f"{num_processes} processes were launched, but each of them sees {accelerator.num_processes}: they would "
            "train separately. Launch with `accelerate launch --config_file accelerate_configs/...yaml`."
        )
    if accelerator.gradient_accumulation_steps != 1:
        raise ValueError(
            f"The launcher asks for {accelerator.gradient_accumulation_steps} gradient accumulation steps; set "
            "--micro_batch_size instead: accumulation follows from --batch_size."
        )
    if os.environ.get("ACCELERATE_DYNAMO_BACKEND", "no").lower() != "no":
        raise ValueError("The launcher asks for torch.compile; pass --compile to run.py instead: edits compile again.")
    if accelerator.device.type == "cpu":
        torch.set_num_threads(config.num_threads or default_num_threads())
        return_freed_memory()
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Said in both cases: a run before this one in the same process may have asked for the other.
    torch.use_deterministic_algorithms(config.deterministic)
    return accelerator


def _join_again() -> None:
    """Join the processes after a restart; left to itself torch would look for the dead ones, at their old addresses.

    Torchrun's store outlives a restart under its static rendezvous, which is accelerate's default.
    """
    if torch.distributed.is_initialized():
        return
    from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

    store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
    on_gpu = torch.cuda.is_available() and not _is_on("ACCELERATE_USE_CPU")
    torch.distributed.init_process_group(
        backend="nccl" if on_gpu else "gloo",
        store=PrefixStore(f"restart-{os.environ['TORCHELASTIC_RESTART_COUNT']}", store),
        rank=int(os.environ["RANK"]),
        world_size=int(os.environ["WORLD_SIZE"]),
    )


def num_launched() -> int:
    """Return how many processes the launcher started, whether they see each other or not."""
    return max(int(os.environ.get(name) or 1) for name in LAUNCHER_SIZES)


def was_launched() -> bool:
    """Return whether accelerate or torchrun started this process, rather than a shell or another program."""
    return not {"ACCELERATE_DYNAMO_BACKEND", "TORCHELASTIC_RUN_ID"}.isdisjoint(os.environ)


def was_restarted() -> bool:
    """Return whether the launcher (--max_restarts) started this process again after a failure."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def is_alive(pid: int) -> bool:
    """Return whether a process still runs; one that ended and that nobody has asked about (a zombie) does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def start_time() -> float:
    """Return when the run was started, in seconds since 1970; the same after the launcher started it again."""
    # torchrun starts its processes again, and lives on itself.
    return psutil.Process(os.getppid()).create_time() if "TORCHELASTIC_RUN_ID" in os.environ else time.time()


def sharding() -> str | None:
    """Return what the launcher asks to spread parameters over processes with, FSDP or DEEPSPEED, or None."""
    return next((name for name in ("FSDP", "DEEPSPEED") if _is_on(f"ACCELERATE_USE_{name}")), None)


def _is_on(switch: str) -> bool:
    """Return whether the launcher turned a switch of the environment on."""
    return os.environ.get(switch, "false").lower() in ("1", "true")


def end_run(accelerator: Accelerator) -> None:
    """Close the trackers; the processes stay joined until they exit, since another run may follow in them."""
    trackers, accelerator.trackers = accelerator.trackers, []
    for tracker in trackers:
        with reporting_failure(Path(accelerator.project_dir) / tracker.name, needed=0):
            tracker.finish()


def _part() -> None:
    if torch.distributed.is_initialized():
        # Wrappers of past runs hold on to the group, whose threads then outlive the interpreter and abort the process.
        gc.collect()
        torch.distributed.destroy_process_group()


@contextmanager
def refused_for_all(accelerator: Accelerator) -> Iterator[None]:
    """Let the other processes wait for what the main one does inside, and end with it when it refuses.

    Left alone they would bury its one line under their reports of a lost connection.
    """
    refusal: ValueError | None = None
    try:
        yield
    except ValueError as error:
        refusal = error
    is_refused = [refusal is not None]
    broadcast_object_list(is_refused)
    if refusal is not None:
        raise refusal
    if is_refused[0]:
        raise SystemExit(1)


def default_num_threads(num_sharing: int = 1) -> int:
    """Return the cores for each process of this machine: launchers set one thread, whatever there is.

    Args:
        num_sharing: runs that share the machine.
    """
    local = int(os.environ.get("LOCAL_WORLD_SIZE") or 1)
    # Not every system can tell which cores a process may use.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // (local * num_sharing))


def choose_precision(config: RunConfig) -> Precision:
    """Return "no", "bf16" or "fp16", never "auto".

    Raises:
        ValueError: for fp16 without a GPU, where accelerate would compute in float32 and not say so.
    """
    choice = config.mixed_precision
    on_gpu = torch.cuda.is_available() and not _is_on("ACCELERATE_USE_CPU")
    if choice == "auto":
        launched_with = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
        if launched_with != "no":
            choice = cast("Precision", launched_with)
        else:
            choice = "bf16" if _computes_in_bf16(on_gpu) else "no"
    if choice == "fp16" and not on_gpu:
        raise ValueError("fp16 needs a GPU; on a CPU choose --mixed_precision bf16 or no.")
    return choice


def _computes_in_bf16(on_gpu: bool) -> bool:
    if on_gpu:
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()

"""Join the processes that a launcher started, and see to it that they know of each other."""

from __future__ import annotations

import atexit
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, cast

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.tracking import TensorBoardTracker
from accelerate.utils import (
    DistributedDataParallelKwargs,
    DistributedType,
    TorchDynamoPlugin,
    broadcast_object_list,
    gather_object,
)

from research.settings.config import RunConfig
from research.system.durable import reporting_failure
from research.system.launcher import is_on, launched_precision, num_launched, read_request
from research.training.rounds import join_processes, num_earlier_rounds

REPLICATED = {kind for kind in DistributedType if kind.value == "NO" or kind.value.startswith("MULTI_")}
"""Kinds of launch in which every process holds the whole model."""
Precision = Literal["auto", "no", "bf16", "fp16"]


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
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True" and not torch.distributed.is_initialized():
        join_processes()
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
    compare_with_request(accelerator, config)
    if accelerator.gradient_accumulation_steps != 1:
        raise ValueError(
            f"The launcher asks for {accelerator.gradient_accumulation_steps} gradient accumulation steps; set "
            "--micro_batch_size instead: accumulation follows from --batch_size."
        )
    if os.environ.get("ACCELERATE_DYNAMO_BACKEND", "no").lower() != "no":
        raise ValueError("The launcher asks for torch.compile; pass --compile to run.py instead: edits compile again.")
    if accelerator.device.type == "cpu":
        torch.set_num_threads(config.num_threads or default_num_threads())
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Said in both cases: a run before this one in the same process may have asked for the other.
    torch.use_deterministic_algorithms(config.deterministic)
    return accelerator


def compare_with_request(accelerator: Accelerator, config: RunConfig) -> None:
    """Refuse to train with other processes, another wrapper, precision or device than asked for.

    Raises:
        ValueError: naming what was asked for and what accelerate made of it.
    """
    if accelerator.num_processes != num_launched():
        raise ValueError(
            f"{num_launched()} processes were launched, but each of them sees {accelerator.num_processes}: they would "
            "train separately. Launch with `accelerate launch --config_file accelerate_configs/...yaml`."
        )
    if accelerator.distributed_type not in REPLICATED:
        raise ValueError(
            f"Expected a launch in which every process holds the whole model; accelerate set up "
            f"{accelerator.distributed_type.value}. Launch with accelerate_configs/multi_gpu.yaml."
        )
    precision = choose_precision(config)
    if accelerator.mixed_precision != precision:
        raise ValueError(
            f"Expected the precision {precision}; accelerate set up {accelerator.mixed_precision}. Give "
            "--mixed_precision, or leave it out of the launcher's config."
        )
    on_cpu = accelerator.device.type == "cpu"
    if on_cpu and read_request().wants_gpu:
        raise ValueError(
            "The launcher asks for GPUs; none found. Check the driver and CUDA_VISIBLE_DEVICES, or launch with "
            "accelerate_configs/cpu_2_processes.yaml."
        )
    if not on_cpu and is_on("ACCELERATE_USE_CPU"):
        raise ValueError(f"The launcher asks for the CPU; accelerate set up {accelerator.device}.")


def was_restarted() -> bool:
    """Return whether the launcher started this run's processes again; the same on all of them."""
    # Nodes count only their own failures, and none that another node's failure brought about.
    count = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) + num_earlier_rounds()
    return any(gather_object([count > 0]))


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
    is_rejected = [refusal is not None]
    broadcast_object_list(is_rejected)
    if refusal is not None:
        raise refusal
    if is_rejected[0]:
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
    on_gpu = torch.cuda.is_available() and not is_on("ACCELERATE_USE_CPU")
    if choice == "auto":
        launched_with = launched_precision()
        if launched_with is not None:
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

"""Create the accelerator of each process, and check that accelerate set up what was requested."""

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
    InitProcessGroupKwargs,
    KwargsHandler,
    TorchDynamoPlugin,
    broadcast_object_list,
    gather_object,
)

from research.settings.config import RunConfig
from research.system.durable import converting_write_errors
from research.system.launcher import is_switch_on, num_launched_processes, read_request, read_requested_precision
from research.training.openmp import stop_threads_at_forks
from research.training.rounds import choose_backend, join_alone, join_processes, num_earlier_rounds

REPLICATED = {kind for kind in DistributedType if kind.value == "NO" or kind.value.startswith("MULTI_")}
"""Accelerate's kinds of launch in which every process holds the whole model: one process, or plain data parallelism."""
Precision = Literal["no", "bf16", "fp16"]


def create_accelerator(config: RunConfig, directory: str) -> Accelerator:
    """Check the launch, set the number of threads and return this process's accelerator.

    Args:
        config: settings, of which mixed_precision, log_with, num_threads and deterministic are used.
        directory: directory into which trackers write.
    Raises:
        ValueError: if the launch is not as requested (see `check_setup_as_requested`), the precision is not available,
            or the launcher enables gradient accumulation or torch.compile.
    """
    num_processes = num_launched_processes()
    if num_processes > 1 and not torch.cuda.is_available():
        # Without this setting, processes that accelerate launches on CPUs through torchrun do not see each other.
        os.environ["ACCELERATE_USE_CPU"] = "true"
    if num_processes > 1 or config.shard is not None:  # registered only once, even if this process starts several runs
        atexit.unregister(_leave_group)
        atexit.register(_leave_group)
    # Under torchrun, the store of the processes belongs to torchrun and survives restarts: see rounds.py.
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True" and not torch.distributed.is_initialized():
        join_processes(on_both=config.shard_cpu_offload)
    # An earlier run in the same process may have used a different precision, which accelerate would keep.
    AcceleratorState._reset_state()
    accelerator = Accelerator(
        mixed_precision=choose_precision(config),
        dynamo_plugin=TorchDynamoPlugin(backend="no"),  # wrapping/ compiles: edits must be able to compile again
        gradient_accumulation_steps=1,  # the loop sums micro-batches; the launcher can override this: checked below
        # None instead of an empty list, for which accelerate prints a warning.
        log_with=[TensorBoardTracker(name, directory) if name == "tensorboard" else name for name in config.log_with]
        or None,
        project_dir=directory,
        kwargs_handlers=_handlers(config),
    )
    check_setup_as_requested(accelerator, config)
    if config.shard is not None and not torch.distributed.is_initialized():
        join_alone(accelerator.device, on_both=config.shard_cpu_offload)
    if accelerator.gradient_accumulation_steps != 1:
        raise ValueError(
            f"The launcher sets {accelerator.gradient_accumulation_steps} gradient accumulation steps, expected 1. Set "
            "--micro_batch_size instead: accumulation follows from --batch_size."
        )
    if os.environ.get("ACCELERATE_DYNAMO_BACKEND", "no").lower() != "no":
        raise ValueError(
            "The launcher enables torch.compile. Pass --compile to run.py instead: edits must compile the model again."
        )
    if accelerator.device.type == "cpu":
        stop_threads_at_forks()
        torch.set_num_threads(config.num_threads or default_num_threads())
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with such a setting
    # Also called with False, since an earlier run in the same process may have called it with True.
    torch.use_deterministic_algorithms(config.deterministic)
    return accelerator


def _handlers(config: RunConfig) -> list[KwargsHandler]:
    """Return accelerate's settings of DDP and, if necessary, of the communication between processes."""
    handlers: list[KwargsHandler] = [
        DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)
    ]
    # Accelerate connects the processes if `join_processes` did not. It takes no backend for a single process.
    if config.shard_cpu_offload and num_launched_processes() > 1:
        handlers.append(InitProcessGroupKwargs(backend=choose_backend(on_gpu=True, on_both=True)))
    return handlers


def check_setup_as_requested(accelerator: Accelerator, config: RunConfig) -> None:
    """Check that accelerate set up the requested processes, precision and device, and did not split the model.

    Raises:
        ValueError: if not; names what was expected and what was set up.
    """
    if accelerator.num_processes != num_launched_processes():
        raise ValueError(
            f"{num_launched_processes()} processes were launched, but each of them sees {accelerator.num_processes}: "
            "they would train separately. Launch with `accelerate launch --config_file accelerate_configs/...yaml`."
        )
    if accelerator.distributed_type not in REPLICATED:
        raise ValueError(
            f"Expected a launch that does not split the model; accelerate set up {accelerator.distributed_type.value}. "
            "To split it, launch with accelerate_configs/fsdp2_multi_gpu.yaml and pass --shard fsdp2 to run.py."
        )
    precision = choose_precision(config)
    if accelerator.mixed_precision != precision:
        raise ValueError(
            f"Expected the precision {precision}; accelerate set up {accelerator.mixed_precision}. Pass "
            "--mixed_precision to run.py, or remove the precision from the launch configuration."
        )
    on_cpu = accelerator.device.type == "cpu"
    if on_cpu and read_request().wants_gpu:
        raise ValueError(
            "The launcher requests GPUs; none found. Check the driver and CUDA_VISIBLE_DEVICES, or launch with "
            "accelerate_configs/cpu_2_processes.yaml."
        )
    if not on_cpu and is_switch_on("ACCELERATE_USE_CPU"):
        raise ValueError(f"The launcher requests the CPU; accelerate set up {accelerator.device}.")


def was_restarted() -> bool:
    """Return whether the launcher restarted this run's processes. All processes get the same answer."""
    # Each node counts only its own failures, not restarts caused by another node: gather the answers of all processes.
    count = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) + num_earlier_rounds()
    return any(gather_object([count > 0]))


def release(accelerator: Accelerator) -> None:
    """Close the trackers at the end of a run. Processes that were launched together stay connected for another run.

    A single process also clears accelerate's global state: notebook_launcher refuses to start processes from a notebook
    in which there is such a state.
    """
    close_trackers(accelerator)
    if accelerator.num_processes == 1:
        _leave_group()  # a later run in this process may not be sharded
        AcceleratorState._reset_state(reset_partial_state=True)


def close_trackers(accelerator: Accelerator) -> None:
    """Close the trackers. The processes stay connected until they exit, since they may start another run."""
    trackers, accelerator.trackers = accelerator.trackers, []
    for tracker in trackers:
        with converting_write_errors(Path(accelerator.project_dir) / tracker.name, needed=0):
            tracker.finish()


def _leave_group() -> None:
    if torch.distributed.is_initialized():
        # Wrappers of past runs keep the group alive; its threads would outlive the interpreter and abort the process.
        gc.collect()
        torch.distributed.destroy_process_group()


@contextmanager
def fail_together(accelerator: Accelerator) -> Iterator[None]:
    """Return a context that ends all processes if the main process raises a ValueError in it.

    At the end of the context, all processes wait for the main process. Without the context, the one-line error of the
    main process would be lost among the other processes' reports of a lost connection.
    """
    failure: ValueError | None = None
    try:
        yield
    except ValueError as error:
        failure = error
    has_failed = [failure is not None]
    broadcast_object_list(has_failed)  # from the main process
    if failure is not None:
        raise failure
    if has_failed[0]:
        raise SystemExit(1)


def default_num_threads(num_sharing: int = 1) -> int:
    """Return the number of threads for each process: an equal share of this machine's cores.

    Without this, every launched process would have one thread, which is the default of launchers.

    Args:
        num_sharing: number of processes among which a process's share is divided further, for example those of all
            workers of a study.
    """
    num_local = int(os.environ.get("LOCAL_WORLD_SIZE") or 1)
    # sched_getaffinity, the cores that this process may use, does not exist on every system.
    num_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, num_cores // (num_local * num_sharing))


def choose_precision(config: RunConfig) -> Precision:
    """Return the precision to use.

    Raises:
        ValueError: for fp16 without a GPU, since accelerate would silently compute in float32.
    """
    choice = config.mixed_precision
    on_gpu = torch.cuda.is_available() and not is_switch_on("ACCELERATE_USE_CPU")
    if choice == "auto":
        requested = read_requested_precision()
        if requested is not None:
            choice = cast("Precision", requested)
        else:
            choice = "bf16" if _computes_in_bf16(on_gpu) else "no"
    if choice == "fp16" and not on_gpu:
        raise ValueError("fp16 requires a GPU; on a CPU, use --mixed_precision bf16 or no.")
    return choice


def _computes_in_bf16(on_gpu: bool) -> bool:
    """Return whether the hardware supports bf16, so that it is not emulated."""
    if on_gpu:
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()

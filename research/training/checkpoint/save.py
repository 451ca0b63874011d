"""Write a checkpoint to a temporary directory, sync and rename it: the final directory is always complete."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import gather_object
from torch import Tensor

from research.model.encoder_with_head import EncoderWithHead
from research.settings.run_files import CHECKPOINTS
from research.system import durable, random_states
from research.system.manifest import write_manifest
from research.system.safetensors_file import write_gathered
from research.system.user_code import ErrorsAttributedTo
from research.system.value_codec import encode
from research.training.checkpoint.find import CheckpointError, list_checkpoints
from research.training.checkpoint.kept_files import kept_files
from research.training.checkpoint.optimizer_files import EncodedOptimizer
from research.training.checkpoint.state import HOOKS, KEPT, PROCESS, STATE, WEIGHTS
from research.training.checkpoint.value_files import EncodedValues
from research.training.rounding import rounding_environment

if TYPE_CHECKING:
    from research.training.hook import Hook
    from research.training.run import TrainingRun


def save_checkpoint(run: TrainingRun, keep: int) -> Path:
    """Write a checkpoint of the run after a step; called on every process.

    Args:
        run: the run; the checkpoint is named after its step.
        keep: number of newest checkpoints to keep; older ones are deleted.
    Returns:
        The checkpoint's directory.
    Raises:
        StorageError: on every process, if any process could not write its files; earlier checkpoints are unchanged.
        CheckpointError: on every process, if a hook's state could not be loaded back.
    """
    folder = run.directory / CHECKPOINTS
    target = folder / f"step-{run.clock.step:08d}"
    temporary = folder / f".{target.name}.writing"
    needed = _bytes_needed(run)
    names = {parameter: name for name, parameter in run.encoder_with_head.named_parameters()}
    process_state: list[EncodedValues] = []
    optimizer_state: list[EncodedOptimizer] = []
    run.wrapping.restore_parameters()
    # A process may have requested a stop after the last boundary, where the processes agree on stops.
    requested_stop_reason = next(filter(None, gather_object([run.requested_stop_reason])), None)

    def prepare_folder() -> None:
        folder.mkdir(exist_ok=True)
        durable.remove_leftovers(folder)
        durable.check_space(folder, needed=needed)
        temporary.mkdir()
        # First, so that a save that fails on a full disk leaves room for the result of the run.
        (temporary / STATE).write_text(
            json.dumps(_collect_state(run) | {"requested_stop_reason": requested_stop_reason}, indent=2),
            encoding="utf-8",
        )
        (temporary / KEPT).mkdir()
        for name in kept_files(run.hooks):
            if (run.directory / name).exists():
                durable.copy(run.directory / name, temporary / KEPT / name)

    def encode_states() -> None:
        states = [_loadable_state(hook) for hook in run.hooks]
        value = {"random": random_states.capture(run.accelerator.device), "hooks": states}
        process_state.append(EncodedValues(value, f"{PROCESS}-{run.accelerator.process_index}"))
        optimizer_state.append(EncodedOptimizer(run.optimizer, names))

    def write_process_state() -> None:
        process_state[0].write(temporary)

    def write_weights() -> None:
        write_gathered(temporary / WEIGHTS, _collect_weights(run.encoder_with_head), is_main=run.is_main)

    def write_optimizer() -> None:
        optimizer_state[0].write(temporary, is_main=run.is_main)

    def write_hooks() -> None:
        if process_state[0].split:  # the same tensors on every process
            write_gathered(temporary / HOOKS, process_state[0].split, is_main=run.is_main)

    def publish() -> None:
        write_manifest(temporary)
        durable.publish(temporary, target)
        for old in list_checkpoints(run.directory)[:-keep]:
            durable.rename_and_remove(old)

    try:
        _run_on_main(run, prepare_folder, target, needed)
        # The steps in which the processes gather tensors are apart from each other, so that all processes learn of an
        # error before they gather the next tensors.
        for step in (encode_states, write_process_state, write_weights, write_optimizer, write_hooks):
            _run_on_all(run, step, target, needed)
        _run_on_main(run, publish, target, needed)
    except ValueError:
        if run.is_main:
            durable.remove(temporary)  # it may have filled the disk
        raise
    return target


def _collect_state(run: TrainingRun) -> dict[str, Any]:
    """Return the content of state.json: the state that is neither a tensor nor specific to a process."""
    scaler = run.accelerator.scaler
    return {
        "clock": run.clock.state_dict(),
        "schedule": run.schedule.state_dict(),
        "scaler": None if scaler is None else scaler.state_dict(),
        "num_skipped": run.totals.num_skipped,
        "train_seconds": run.totals.train_seconds,
        "stop_reason": run.stop_reason,
        "label_names": list(run.task.label_names),
        "journal": [asdict(record) for record in run.applied_edits.journal],
        "trainable": [name for name, value in run.encoder_with_head.named_parameters() if value.requires_grad],
        "parent": None if run.parent is None else asdict(run.parent),
        "hooks": [type(hook).__name__ for hook in run.hooks],
        "num_processes": run.accelerator.num_processes,
        "device": run.accelerator.device.type,
        "num_threads": torch.get_num_threads(),
        "environment": rounding_environment(run.accelerator.device),
        "features": None if run.batches.features is None else run.batches.features.digest,
        "cache_disabled": run.batches.cache_disabled,
        "rows_sha256": run.batches.rows_sha256,
        "train_rows": run.batches.train.state_dict(),
        "settings": run.config.to_dict(),
    }


def _bytes_needed(run: TrainingRun) -> int:
    """Estimate the size of a checkpoint in bytes."""
    tensors = [*run.encoder_with_head.state_dict().values(), *_tensors(run.optimizer.state_dict())]
    hook_tensors = [tensor for hook in run.hooks for tensor in _tensors(hook.state_dict())]
    # Folders are not counted, since their files are hard-linked if possible.
    file_sizes = [path.stat().st_size for name in kept_files(run.hooks) if (path := run.directory / name).is_file()]
    hook_bytes = sum(map(_num_bytes, hook_tensors)) * run.accelerator.num_processes
    return sum(map(_num_bytes, tensors)) + hook_bytes + sum(file_sizes) + 2**20  # 1 MiB for everything else


def _num_bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()  # of a whole tensor, also if this process holds only a part


def _tensors(value: Any) -> Iterable[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)


def _run_on_main(run: TrainingRun, work: Callable[[], None], target: Path, needed: int) -> None:
    _run_on_all(run, work if run.is_main else lambda: None, target, needed)


def _run_on_all(run: TrainingRun, work: Callable[[], None], target: Path, needed: int) -> None:
    """Do some work on every process; if it fails on any process, raise an error on all of them."""
    error: ValueError | None = None
    try:
        with durable.converting_write_errors(target, needed=needed):
            work()
    except ValueError as caught:
        error = caught
    # Whether the error is a StorageError, and its message; None if there was no error.
    failures = [None if error is None else (isinstance(error, durable.StorageError), str(error))]
    if run.accelerator.num_processes > 1:
        failures = gather_object(failures)
    if error is not None:
        raise error
    for failure in failures:
        if failure is not None:
            raise durable.StorageError(failure[1]) if failure[0] else CheckpointError(failure[1])


def _collect_weights(model: EncoderWithHead) -> dict[str, Tensor]:
    """Return all weights. Shared weights have only one of their names."""
    shared = model.all_tied_weights_keys
    return {name: tensor for name, tensor in model.state_dict().items() if name not in shared}


def _loadable_state(hook: Hook) -> dict[str, Any]:
    """Return a hook's state, after checking that it can be loaded again.

    Raises:
        CheckpointError: if the state contains anything but plain values and tensors.
    """
    with ErrorsAttributedTo(f"hook {type(hook).__name__} (state_dict)", hook.state_dict):
        state = hook.state_dict()
    try:
        encode(state, "state", {})
    except TypeError as error:
        raise CheckpointError(
            f"Expected only numbers, strings, lists, dicts and tensors in the state_dict of the hook "
            f"{type(hook).__name__}; {error}. Convert numpy numbers with float(x)."
        ) from None
    return state

"""Write a checkpoint to a temporary directory, sync and rename it: the final directory is always complete."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import gather_object
from torch import Tensor

from research.settings.run_files import CHECKPOINTS
from research.system import durable, random_states
from research.system.manifest import FileFacts, describe_file, write_manifest
from research.system.process_group import ProcessGroup
from research.system.tensor_parts import own_parts, write_by_process, write_gathered
from research.system.user_code import ErrorsAttributedTo
from research.system.value_codec import Encoded, encode
from research.training.checkpoint.find import CheckpointError, list_checkpoints
from research.training.checkpoint.kept_files import kept_files
from research.training.checkpoint.optimizer_files import OPTIMIZER_TENSORS, EncodedOptimizer
from research.training.checkpoint.state import HOOKS, KEPT, PROCESS, STATE, WEIGHTS, select_weights
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
    return UnwrittenCheckpoint(run, keep, run.processes, copy=False).write()


class UnwrittenCheckpoint:
    """The content of a checkpoint; called on every process.

    Args:
        run: the run; the checkpoint is named after its step.
        keep: number of newest checkpoints to keep; older ones are deleted.
        processes: the processes, through whose connections `write` gathers tensors and errors.
        copy: whether to copy everything that may change, so that the run may continue before `write` is called. The
            copies are in the memory of the CPU. Each process copies only what it writes.
    Raises:
        StorageError: on every process, if any process could not write its files.
        CheckpointError: on every process, if a hook's state could not be loaded back.
    """

    def __init__(self, run: TrainingRun, keep: int, processes: ProcessGroup, *, copy: bool) -> None:
        self._folder = run.directory / CHECKPOINTS
        self._target = self._folder / f"step-{run.clock.step:08d}"
        self._temporary = self._folder / f".{self._target.name}.writing"
        self._keep = keep
        self._processes = processes
        self._write_tensors = write_by_process if run.config.shard_checkpoints else write_gathered
        self._needed = 0
        run.wrapping.restore_parameters()
        # A process may have requested a stop after the last boundary, where the processes agree on stops.
        requested_stop_reason = next(filter(None, gather_object([run.requested_stop_reason])), None)

        def encode_states() -> None:
            self._process_state = _encode_process_state(run)
            names = {parameter: name for name, parameter in run.encoder_with_head.named_parameters()}
            self._optimizer = EncodedOptimizer(run.optimizer, names)

        self._run_on_all(encode_states)
        tensors = {
            WEIGHTS: select_weights(run.encoder_with_head, run.encoder_with_head.state_dict()),
            OPTIMIZER_TENSORS: self._optimizer.tensors,
            **({HOOKS: self._process_state.split} if self._process_state.split else {}),
        }
        self._tensors = {name: own_parts(each, is_main=run.is_main, copy=copy) for name, each in tensors.items()}
        if copy:
            self._process_state.copy_whole()
        self._needed = self._count_bytes(run)
        state = _collect_state(run) | {"requested_stop_reason": requested_stop_reason}
        self._run_on_all(lambda: self._prepare_folder(run, state))

    def write(self) -> Path:
        """Write the checkpoint; called on every process.

        Returns:
            The checkpoint's directory.
        Raises:
            StorageError: on every process, if any process could not write its files; earlier checkpoints are unchanged.
        """
        described: dict[str, FileFacts] = {}

        def write_own_values() -> None:
            self._process_state.write(self._temporary)
            if self._processes.is_main:
                self._optimizer.write(self._temporary)

        def describe_own_files() -> None:
            for path in self._temporary.glob(f"*-{self._processes.rank}.*"):
                durable.sync(path)
                described[path.name] = describe_file(path)

        def publish() -> None:
            if self._processes.is_main:
                write_manifest(self._temporary, {name: facts for each in all_described for name, facts in each.items()})
                durable.publish(self._temporary, self._target)
                for old in list_checkpoints(self._folder.parent)[: -self._keep]:
                    durable.rename_and_remove(old)

        # The steps in which the processes gather tensors are apart from each other, so that all processes learn of an
        # error before they gather the next tensors.
        self._run_on_all(write_own_values)
        for name, parts in self._tensors.items():
            self._run_on_all(functools.partial(self._write_tensors, self._temporary / name, parts, self._processes))
        self._run_on_all(describe_own_files)
        all_described = self._processes.gather_objects(described)
        self._run_on_all(publish)
        return self._target

    def _prepare_folder(self, run: TrainingRun, state: dict[str, Any]) -> None:
        """On the main process, create the temporary folder, with the state and copies of the hooks' files."""
        if not self._processes.is_main:
            return
        self._folder.mkdir(exist_ok=True)
        durable.remove_leftovers(self._folder)
        durable.check_space(self._folder, needed=self._needed)
        self._temporary.mkdir()
        # First, so that a save that fails on a full disk leaves room for the result of the run.
        (self._temporary / STATE).write_text(json.dumps(state, indent=2), encoding="utf-8")
        (self._temporary / KEPT).mkdir()
        for name in kept_files(run.hooks):
            if (run.directory / name).exists():
                durable.copy(run.directory / name, self._temporary / KEPT / name)

    def _count_bytes(self, run: TrainingRun) -> int:
        """Estimate the size of the checkpoint in bytes."""
        num_tensor_bytes = sum(part.num_bytes for parts in self._tensors.values() for part in parts.values())
        num_process_bytes = sum(tensor.nbytes for tensor in self._process_state.whole.values())
        # Folders are not counted, since their files are hard-linked if possible.
        file_sizes = [path.stat().st_size for name in kept_files(run.hooks) if (path := run.directory / name).is_file()]
        # 1 MiB for everything else
        return num_tensor_bytes + num_process_bytes * run.accelerator.num_processes + sum(file_sizes) + 2**20

    def _run_on_all(self, work: Callable[[], None]) -> None:
        """Do some work on every process; if it fails on any process, raise an error on all of them."""
        error: ValueError | None = None
        try:
            with durable.converting_write_errors(self._target, needed=self._needed):
                work()
        except ValueError as caught:
            error = caught
        # Whether the error is a StorageError, and its message; None if there was no error.
        failures = self._processes.gather_objects(
            None if error is None else (isinstance(error, durable.StorageError), str(error))
        )
        failure = next(filter(None, failures), None)
        if failure is None:
            return
        if self._processes.is_main:
            durable.remove(self._temporary)  # it may have filled the disk
        if error is not None:
            raise error
        raise durable.StorageError(failure[1]) if failure[0] else CheckpointError(failure[1])


def _encode_process_state(run: TrainingRun) -> EncodedValues:
    """Return the random states of this process and the states of its hooks."""
    tensors: dict[str, Tensor] = {}
    hooks = [_encode_hook(hook, f"state/hooks/{index}", tensors) for index, hook in enumerate(run.hooks)]
    value = {"random": random_states.capture(run.accelerator.device), "hooks": hooks}
    return EncodedValues(value, f"{PROCESS}-{run.accelerator.process_index}", tensors)


def _encode_hook(hook: Hook, name: str, tensors: dict[str, Tensor]) -> Encoded:
    """Return a hook's state.

    Args:
        hook: the hook.
        name: beginning of the names of its tensors.
        tensors: receives the tensors.
    Raises:
        CheckpointError: if the state contains anything but plain values and tensors, so that it could not be loaded.
    """
    with ErrorsAttributedTo(f"hook {type(hook).__name__} (state_dict)", hook.state_dict):
        state = hook.state_dict()
    try:
        return Encoded(encode(state, name, tensors))
    except TypeError as error:
        raise CheckpointError(
            f"Expected only numbers, strings, lists, dicts and tensors in the state_dict of the hook "
            f"{type(hook).__name__}; {error}. Convert numpy numbers with float(x)."
        ) from None


def _collect_state(run: TrainingRun) -> dict[str, Any]:
    """Return the content of state.json: the state that is neither a tensor nor specific to a process."""
    scaler = run.accelerator.scaler
    return {
        "clock": run.clock.state_dict(),
        "schedule": run.schedule.state_dict(),
        "scaler": None if scaler is None else scaler.state_dict(),
        "num_skipped": run.totals.num_skipped,
        "train_seconds": run.totals.train_seconds,
        "device_seconds": run.totals.device_seconds(run.accelerator.num_processes),
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

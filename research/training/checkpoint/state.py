"""Read checkpoints: state.json, which holds the state besides tensors; the parent of a fork; and the weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor

from research.edits.records import Parent, Record
from research.model.encoder_with_head import EncoderWithHead
from research.settings.forks import parse_fork
from research.system.errors import one_line
from research.system.indexed_tensors import open_tensors
from research.system.manifest import find_damage
from research.system.safetensors_file import StoredTensors
from research.system.sharded_tensors import distribute, is_sharded
from research.training.checkpoint.find import CheckpointError, StartCheckpoint

STATE = "state.json"
"""File in a checkpoint with the state that is neither a tensor nor specific to a process."""
WEIGHTS = "model.safetensors"
"""File in a checkpoint with all parameters and saved buffers; see `open_tensors` for several files in its place."""
PROCESS = "process"
"""Name of the files in a checkpoint with the random states and hooks of one process, without its rank and suffix."""
HOOKS = "hooks.safetensors"
"""File in a checkpoint with the tensors of hooks that are split over the processes, if there are any."""
KEPT = "kept"
"""Folder in a checkpoint for copies of files of the run directory that belong to the state of hooks."""


def read_state(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint's state.json.

    Raises:
        CheckpointError: if it cannot be read.
    """
    try:
        state: dict[str, Any] = json.loads((path / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path / STATE} cannot be read: {one_line(error)}.") from error
    if not isinstance(state, dict) or "clock" not in state:
        raise CheckpointError(f"{path / STATE} is not the state of a run: expected a JSON object with the key 'clock'.")
    return state


def parent_at(fork: str, checkpoint: Path) -> Parent:
    """Return the parent of a fork, with the step and the journal of the checkpoint that the fork continues.

    Args:
        fork: value of --fork, RUN or RUN@step-N.
        checkpoint: directory of the parent's checkpoint.
    """
    state = read_state(checkpoint)
    return Parent(str(parse_fork(fork).run), state["clock"]["step"], read_records(state["journal"]))


def find_parent(start: StartCheckpoint, fork: str | None) -> Parent | None:
    """Return the parent of a resumed run or a fork; None if the run is not a fork."""
    if start.is_fork:
        assert fork is not None
        return parent_at(fork, start.checkpoint)
    # A resumed fork reads its own checkpoint, since the parent's may have been deleted in the meantime.
    saved = read_state(start.checkpoint)["parent"]
    return saved and Parent(saved["run"], saved["step"], read_records(saved["journal"]))


def read_weights_and_label_names(model: EncoderWithHead, path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Return a checkpoint's weights and its label names.

    Of weights that are split over the processes in the model, each process reads only its parts.

    Args:
        model: a model with the same structure as the checkpoint's.
        path: directory of the checkpoint.
    Raises:
        CheckpointError: if the checkpoint is damaged.
    """
    damage = find_damage(path)
    if damage is not None:
        raise CheckpointError(f"Cannot start from {path}: {damage}.")
    targets = model.state_dict()
    try:
        with open_tensors(path / WEIGHTS) as file:
            weights = {name: _read_like(file, name, targets.get(name)) for name in file.names()}
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"Cannot start from {path}: {one_line(error)}") from error
    return add_shared_weights(model, weights), read_state(path)["label_names"]


def _read_like(file: StoredTensors, name: str, like: Tensor | None) -> Tensor:
    """Return a stored tensor; only this process's part if a tensor of the same name and shape is split."""
    if like is None or not is_sharded(like) or file.shape(name) != list(like.shape):
        return file.read(name)
    return distribute(file.read_part(name, like), like)


def select_weights(model: EncoderWithHead, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights that files contain: each only once, since shared weights have several names in the model.

    Args:
        model: the model.
        weights: its weights by all of their names.
    """
    return {name: tensor for name, tensor in weights.items() if name not in model.all_tied_weights_keys}


def read_records(journal: list[dict[str, Any]]) -> tuple[Record, ...]:
    """Return the records of a checkpoint's journal."""
    return tuple(Record(**record) for record in journal)


def add_shared_weights(model: EncoderWithHead, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights that `select_weights` selected, under all of their names."""
    shared = {name: weights[first] for name, first in model.all_tied_weights_keys.items() if first in weights}
    return {**weights, **shared}

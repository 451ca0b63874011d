"""What a checkpoint holds beside tensors, and what others than the run itself read of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from research.edits.records import Parent, Record
from research.model.encoder_with_head import EncoderWithHead
from research.settings.forks import parse_fork
from research.system.errors import one_line
from research.system.manifest import find_damage
from research.training.checkpoint.find import CheckpointError, Start

STATE = "state.json"


KEPT = "kept"
"""Folder for files of the run directory that hooks want kept."""


def read_state(path: Path) -> dict[str, Any]:
    """Return what a checkpoint's state.json holds.

    Raises:
        CheckpointError: if it cannot be read.
    """
    try:
        state: dict[str, Any] = json.loads((path / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path / STATE} cannot be read: {one_line(error)}.") from error
    if not isinstance(state, dict) or "clock" not in state:
        raise CheckpointError(f"{path / STATE} is not the state of a run.")
    return state


def parent_at(fork: str, checkpoint: Path) -> Parent:
    """Return the run that a fork comes from, as it was at a checkpoint.

    Args:
        fork: the setting that names them.
        checkpoint: one of that run's.
    """
    state = read_state(checkpoint)
    return Parent(str(parse_fork(fork).run), state["clock"]["step"], read_records(state["journal"]))


def find_parent(start: Start, fork: str | None) -> Parent | None:
    """Return the run that the continued one is a fork of, or None."""
    if start.is_fork:
        assert fork is not None
        return parent_at(fork, start.checkpoint)
    saved = read_state(start.checkpoint)["parent"]  # the parent's own checkpoint may be gone by now
    return saved and Parent(saved["run"], saved["step"], read_records(saved["journal"]))


def read_checkpoint_model(model: EncoderWithHead, path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Return the weights that a checkpoint holds, and the names of the labels that they predict.

    Args:
        model: a model like that of the checkpoint's run.
        path: the checkpoint.
    Raises:
        CheckpointError: if it is damaged.
    """
    damage = find_damage(path)
    if damage is not None:
        raise CheckpointError(f"Cannot start from {path}: {damage}.")
    return with_shared(model, load_file(path / "model.safetensors")), read_state(path)["label_names"]


def read_records(journal: list[dict[str, Any]]) -> tuple[Record, ...]:
    """Return the edits of a journal that a checkpoint holds."""
    return tuple(Record(**record) for record in journal)


def with_shared(model: EncoderWithHead, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights under all of their names."""
    shared = {name: weights[first] for name, first in model.all_tied_weights_keys.items() if first in weights}
    return {**weights, **shared}

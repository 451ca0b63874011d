"""Checkpoints: everything that a run needs to go on after a step as if it had never stopped.

A checkpoint is written to a temporary directory, synced and renamed, so that what bears its name is complete. Nothing
in it is unpickled: weights are safetensors, the rest is JSON or is read with torch's weights_only loader.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import random
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from research.edits.boundary import replay
from research.edits.journal import Record
from research.model import EncoderWithHead

if TYPE_CHECKING:
    from research.hooks import Hook
    from research.run import Run

FORMAT = 2
MANIFEST = "manifest.json"


class CheckpointError(ValueError):
    """A checkpoint that cannot be used."""


def save_checkpoint(run: Run, keep: int) -> Path:
    """Write a checkpoint of the run as it is after a step; called on every process.

    Args:
        run: the run; its clock names the checkpoint.
        keep: newest checkpoints that stay; older ones are removed.
    Returns:
        The checkpoint's directory.
    """
    folder = run.directory / "checkpoints"
    target = folder / f"step-{run.clock.step:08d}"
    writing = folder / f".{target.name}.writing"
    if run.is_main:
        shutil.rmtree(writing, ignore_errors=True)
        writing.mkdir(parents=True)
    run.accelerator.wait_for_everyone()
    rank = run.accelerator.process_index
    torch.save(_random_states(), writing / f"random-{rank}.pt")
    torch.save([_readable_state(hook) for hook in run.hooks], writing / f"hooks-{rank}.pt")
    if run.is_main:
        save_file(_weights(run.encoder_with_head), writing / "model.safetensors")
        torch.save(run.optimizer.state_dict(), writing / "optimizer.pt")
        scaler = run.accelerator.scaler
        state = {
            "clock": run.clock.state_dict(),
            "schedule": run.schedule.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "num_skipped": run.num_skipped,
            "train_seconds": run.train_seconds,
            "label_names": list(run.task.label_names),
            "journal": [asdict(record) for record in run.journal],
            "hooks": [type(hook).__name__ for hook in run.hooks],
            "num_processes": run.accelerator.num_processes,
            "num_threads": torch.get_num_threads(),
            "settings": run.config.to_dict(),
        }
        (writing / "state.json").write_text(json.dumps(state, indent=2), encoding="utf-8")
    run.accelerator.wait_for_everyone()
    if run.is_main:
        _publish(writing, target)
        for old in _complete_names(folder)[:-keep]:
            shutil.rmtree(folder / old)
    run.accelerator.wait_for_everyone()
    return target


def load_checkpoint(run: Run, path: Path) -> None:
    """Put a fresh run into the state that a checkpoint holds.

    Raises:
        CheckpointError: if the checkpoint does not fit the run.
    """
    state = json.loads((path / "state.json").read_text(encoding="utf-8"))
    hooks = [type(hook).__name__ for hook in run.hooks]
    if state["hooks"] != hooks:
        raise CheckpointError(f"{path} was written with the hooks {state['hooks']}, this run has {hooks}.")
    changed = {
        name: (before, getattr(run.config, name))
        for name, before in state["settings"].items()
        if name in MEANING and before != getattr(run.config, name)
    }
    if changed:
        listed = "; ".join(f"{name} was {before!r}, now {now!r}" for name, (before, now) in changed.items())
        raise CheckpointError(f"{path} belongs to a run with other settings: {listed}.")
    if state["num_processes"] != run.accelerator.num_processes:
        raise CheckpointError(
            f"{path} was written by {state['num_processes']} processes, this run has {run.accelerator.num_processes}."
        )
    replay(run, [Record(**record) for record in state["journal"]])
    weights = load_file(path / "model.safetensors")
    run.encoder_with_head.load_state_dict(_with_shared(run.encoder_with_head, weights), strict=True)
    run.optimizer.load_state_dict(torch.load(path / "optimizer.pt", weights_only=True))
    run.clock.load_state_dict(state["clock"])
    run.schedule.load_state_dict(state["schedule"])
    if run.accelerator.scaler is not None:
        run.accelerator.scaler.load_state_dict(state["scaler"])
    run.num_skipped = state["num_skipped"]
    run.train_seconds = state["train_seconds"]
    rank = run.accelerator.process_index
    for hook, hook_state in zip(run.hooks, torch.load(path / f"hooks-{rank}.pt", weights_only=True), strict=True):
        hook.load_state_dict(hook_state)
    _restore_random_states(torch.load(path / f"random-{rank}.pt", weights_only=True))
    run.resumed_from = path


def read_checkpoint_model(model: EncoderWithHead, path: Path) -> tuple[dict[str, torch.Tensor], list[str]]:
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
    state = json.loads((path / "state.json").read_text(encoding="utf-8"))
    return _with_shared(model, load_file(path / "model.safetensors")), state["label_names"]


MEANING = (
    "encoder",
    "head",
    "objective",
    "hook",
    "dropout",
    "attention_dropout",
    "freeze",
    "peft",
    "timeline",
    "data",
    "task",
    "text_column",
    "text_pair_column",
    "label_column",
    "cleaning",
    "max_length",
    "truncation",
    "limit_train",
    "validation_share",
    "test_share",
    "split_seed",
    "epochs",
    "max_steps",
    "batch_size",
    "optimizer",
    "lr",
    "head_lr",
    "layer_decay",
    "weight_decay",
    "schedule",
    "schedule_interval",
    "warmup",
    "max_grad_norm",
    "mixed_precision",
    "seed",
)
"""Settings that a resumed run must share with its checkpoint."""


def newest_checkpoint(directory: Path, say: Callable[[str], None]) -> Path | None:
    """Return the newest checkpoint of a run directory whose files are what its manifest says, or None.

    Damaged ones are skipped with a word.
    """
    folder = directory / "checkpoints"
    for name in reversed(_complete_names(folder)):
        damage = find_damage(folder / name)
        if damage is None:
            return folder / name
        say(f"Skipping the checkpoint {folder / name}: {damage}.")
    return None


def find_damage(path: Path) -> str | None:
    """Return what is wrong with a checkpoint's files, or None."""
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return f"its manifest cannot be read ({error})"
    if manifest["format"] != FORMAT:
        return f"it has format {manifest['format']}, this version reads {FORMAT}"
    for name, expected in manifest["files"].items():
        file = path / name
        if not file.is_file():
            return f"{name} is missing"
        if _sha256(file) != expected["sha256"]:
            return f"{name} is not what was written"
    return None


def _complete_names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.glob("step-*")) if folder.is_dir() else []


def _publish(writing: Path, target: Path) -> None:
    files = {file.name: {"bytes": file.stat().st_size, "sha256": _sha256(file)} for file in sorted(writing.iterdir())}
    (writing / MANIFEST).write_text(json.dumps({"format": FORMAT, "files": files}, indent=2), encoding="utf-8")
    for file in (*writing.iterdir(), writing):
        _sync(file)
    if target.exists():  # a rename onto a directory that is not empty fails
        aside = target.with_name(f".{target.name}.replaced")
        shutil.rmtree(aside, ignore_errors=True)
        target.rename(aside)
        writing.rename(target)
        shutil.rmtree(aside)
    else:
        writing.rename(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _weights(model: EncoderWithHead) -> dict[str, torch.Tensor]:
    """Return all weights but the further names of shared ones, which safetensors does not take."""
    shared = model.all_tied_weights_keys
    return {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items() if name not in shared
    }


def _with_shared(model: EncoderWithHead, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return weights under all of their names."""
    shared = {name: weights[first] for name, first in model.all_tied_weights_keys.items() if first in weights}
    return {**weights, **shared}


def _readable_state(hook: Hook) -> dict[str, Any]:
    """Return a hook's state.

    Raises:
        CheckpointError: if it holds what could not be read again: pickles of classes are refused.
    """
    state, buffer = hook.state_dict(), io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    try:
        torch.load(buffer, weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"The state_dict of the hook {type(hook).__name__} may hold numbers, text, lists, dicts and tensors only "
            f"(float(x) makes one of a numpy number); got {state}."
        ) from None
    return state


def _random_states() -> dict[str, Any]:
    version, numbers, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    assert isinstance(keys, np.ndarray)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": [version, list(numbers), gauss],
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(cached)],
    }


def _restore_random_states(states: dict[str, Any]) -> None:
    torch.set_rng_state(states["torch"])
    if states["cuda"]:
        torch.cuda.set_rng_state_all(states["cuda"])
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))

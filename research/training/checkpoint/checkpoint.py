"""Checkpoints: everything that a run needs to go on after a step as if it had never stopped.

A checkpoint is written to a temporary directory, synced and renamed, so that what bears its name is complete. Nothing
in it is unpickled: weights are safetensors, the rest is JSON or is read with torch's weights_only loader.
"""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import gather_object, set_seed
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from research.edits.records import Parent, Record, objective_after
from research.learning.optimizer import apply_schedule
from research.model.encoder_with_head import EncoderWithHead
from research.settings.comparison import compare_settings
from research.settings.declarations import Stage
from research.settings.flags import names_where
from research.settings.forks import parse_fork
from research.settings.run_files import CHECKPOINTS
from research.system import durable, random_states
from research.system.errors import one_line
from research.system.manifest import find_damage, write_manifest
from research.system.seeds import derived_seed
from research.system.user_code import CodeOf
from research.training.checkpoint.replay import replay
from research.training.checkpoint.resuming import (
    CheckpointError,
    Start,
    list_checkpoints,
    refuse,
    step_of,
)

if TYPE_CHECKING:
    from research.training.hook import Hook
    from research.training.run import Run


STATE = "state.json"
KEPT = "kept"
"""Folder for files of the run directory that hooks want kept."""
GROUP_RATES = {"base_lr": ("lr", "head_lr", "layer_decay"), "weight_decay": ("weight_decay",)}
"""What an optimizer's group has of its own, and the settings from which it is computed."""
MOMENTUM = ("betas", "momentum")
"""What a schedule with cycle_momentum moves, by the kind of optimizer."""


def save_checkpoint(run: Run, keep: int) -> Path:
    """Write a checkpoint of the run as it is after a step; called on every process.

    Args:
        run: the run; its clock names the checkpoint.
        keep: newest checkpoints that stay; older ones are removed.
    Returns:
        The checkpoint's directory.
    Raises:
        StorageError: on every process, if it could not be written on any; earlier checkpoints are as they were.
        CheckpointError: on every process, if a hook's state could not be read again.
    """
    folder = run.directory / CHECKPOINTS
    target = folder / f"step-{run.clock.step:08d}"
    writing = folder / f".{target.name}.writing"
    needed = _bytes_needed(run)
    # A stop that was asked for after the last boundary; asked for by any process it counts for all.
    asked_to_stop = next(filter(None, gather_object([run.asked_to_stop])), None)

    def begin() -> None:
        folder.mkdir(exist_ok=True)
        durable.remove_leftovers(folder)
        durable.check_space(folder, needed=needed)
        writing.mkdir()

    def write() -> None:
        rank = run.accelerator.process_index
        torch.save(random_states.capture(run.accelerator.device), writing / f"random-{rank}.pt")
        torch.save([_readable_state(hook) for hook in run.hooks], writing / f"hooks-{rank}.pt")
        if run.is_main:
            save_file(_weights(run.encoder_with_head), writing / "model.safetensors")
            torch.save(run.optimizer.state_dict(), writing / "optimizer.pt")
            (writing / STATE).write_text(
                json.dumps(_state(run) | {"asked_to_stop": asked_to_stop}, indent=2), encoding="utf-8"
            )
            (writing / KEPT).mkdir()
            for name in _kept_files(run.hooks):
                if (run.directory / name).exists():
                    durable.copy(run.directory / name, writing / KEPT / name)

    def finish() -> None:
        write_manifest(writing)
        durable.publish(writing, target)
        for old in list_checkpoints(run.directory)[:-keep]:
            durable.retire(old)

    try:
        _on_main(run, begin, target, needed)
        _on_all(run, write, target, needed)
        _on_main(run, finish, target, needed)
    except ValueError:
        if run.is_main:
            durable.remove(writing)  # it may be what fills the disk
        raise
    return target


def load_checkpoint(run: Run, start: Start) -> None:
    """Put a fresh run into the state that a checkpoint holds.

    Raises:
        CheckpointError: if the checkpoint does not fit the run.
    """
    path, accelerator = start.checkpoint, run.accelerator
    state = read_state(path)
    same_rows = state["rows_sha256"] == run.rows_sha256
    differences = compare_settings(state["settings"], run.config.to_dict(), same_rows=same_rows, is_fork=start.is_fork)
    refuse(path, differences.refused, is_fork=start.is_fork)
    notes = differences.notes
    places = _match_hooks(state["hooks"], run.hooks)
    if not start.is_fork:
        _refuse_other_hooks(path, state["hooks"], run.hooks, places)
    replay(run, _records(state["journal"]), state.get("trainable"))
    run.objective_differs = run.objective_choice != objective_after(state["settings"]["objective"], run.journal)
    inputs = names_where(lambda declared: declared.stage is Stage.INPUTS)
    run.inputs_differ = any(getattr(run.config, name) != state["settings"][name] for name in inputs)
    same_place = state["device"] == accelerator.device.type and state["num_processes"] == accelerator.num_processes
    rank = accelerator.process_index if same_place else 0
    try:
        weights = load_file(path / "model.safetensors")
        run.encoder_with_head.load_state_dict(_with_shared(run.encoder_with_head, weights), strict=True)
        _load_optimizer(run, _read(path / "optimizer.pt"), state["settings"], is_fork=start.is_fork)
        _load_clock_and_schedule(run, state, is_fork=start.is_fork)
        hook_states = _read(path / f"hooks-{rank}.pt")
        if not isinstance(hook_states, list) or len(hook_states) != len(state["hooks"]):
            raise CheckpointError(f"{path / f'hooks-{rank}.pt'} does not hold a state for each hook.")
        if same_place:
            random_states.restore(_read(path / f"random-{rank}.pt"), accelerator.device)
    except CheckpointError:
        raise
    except (OSError, RuntimeError, LookupError, TypeError, ValueError, AttributeError, SafetensorError) as error:
        raise CheckpointError(f"{path} does not fit this run: {one_line(error)}") from error
    if accelerator.scaler is not None and state["scaler"] is not None:
        accelerator.scaler.load_state_dict(state["scaler"])
    run.num_skipped, run.train_seconds = state["num_skipped"], state["train_seconds"]
    if not differences.alters_training:  # an unchanged fork ends where its parent did
        run.stop_reason, run.asked_to_stop = state["stop_reason"], state["asked_to_stop"]
    for hook, place in zip(run.hooks, places, strict=True):
        if place is not None:
            with CodeOf(f"hook {type(hook).__name__} (load_state_dict)", hook.load_state_dict):
                hook.load_state_dict(hook_states[place])
            run.resumed_hooks.append(hook)
    notes += _follow_machine(run, state, same_place=same_place)
    notes += [
        f"{name} was {before}, now {now} (numbers may be rounded in another way)"
        for name, now in run.environment.items()
        if (before := state["environment"].get(name)) != now
    ]
    if all(getattr(run.config, name) == state["settings"].get(name) for name in ("cache_features", "cache_dtype")):
        run.gave_features_up = state.get("gave_features_up", False)
        run.features_before = state.get("features")
    for note in notes:
        run.say(f"Other than before: {note}.")
    if run.inputs_differ:
        run.say(
            "Evaluations read more or less of each text from here on: earlier metrics are not compared with new ones."
        )
    run.start = start


def _follow_machine(run: Run, state: dict[str, Any], *, same_place: bool) -> list[str]:
    """Take the checkpoint's number of threads, or new seeds on other processes; return what is to be reported."""
    accelerator = run.accelerator
    if not same_place:
        set_seed(derived_seed(run.config.seed, accelerator.process_index, run.clock.step))
        return [
            f"{state['num_processes']} processes on {state['device']} before, {accelerator.num_processes} on "
            f"{accelerator.device.type} now: the same examples and learning rates, but numbers are rounded in another "
            "way, and dropout drops other units"
        ]
    if run.config.num_threads or torch.get_num_threads() == state["num_threads"]:
        return []
    note = f"{state['num_threads']} threads as before, where this machine would take {torch.get_num_threads()}"
    torch.set_num_threads(state["num_threads"])
    return [f"{note} (--num_threads)"]


def bring_back_files(run: Run) -> None:
    """Put files that hooks keep into the run directory as the checkpoint has them; called on the main process.

    What the run wrote after the checkpoint goes, and what a run without a checkpoint finds there.
    """
    for name in _kept_files(run.hooks):
        own = run.directory / name
        kept = None if run.start is None else run.start.checkpoint / KEPT / name
        with durable.reporting_failure(own, needed=kept.stat().st_size if kept is not None and kept.is_file() else 0):
            durable.remove(own)
            if kept is not None and kept.exists():
                durable.copy(kept, own)


def retire_later_checkpoints(run: Run) -> None:
    """Delete checkpoints of steps that the run is yet to take; called on the main process.

    They belong to the path that was abandoned by resuming from an earlier checkpoint (or by skipping a damaged one).
    Left in place, the next `--resume auto` would take one of them, and `--keep` would delete the new ones instead.
    """
    later = [path for path in list_checkpoints(run.directory) if step_of(path) > run.clock.step]
    for checkpoint in reversed(later):
        durable.retire(checkpoint)
    if later:
        names = ", ".join(path.name for path in later)
        run.say(f"The run continues after step {run.clock.step:,}: deleted the later checkpoints {names}.")


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
    return Parent(str(parse_fork(fork).run), state["clock"]["step"], _records(state["journal"]))


def find_parent(start: Start, fork: str | None) -> Parent | None:
    """Return the run that the continued one is a fork of, or None."""
    if start.is_fork:
        assert fork is not None
        return parent_at(fork, start.checkpoint)
    saved = read_state(start.checkpoint)["parent"]  # the parent's own checkpoint may be gone by now
    return saved and Parent(saved["run"], saved["step"], _records(saved["journal"]))


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
    return _with_shared(model, load_file(path / "model.safetensors")), read_state(path)["label_names"]


def _records(journal: list[dict[str, Any]]) -> tuple[Record, ...]:
    return tuple(Record(**record) for record in journal)


def _state(run: Run) -> dict[str, Any]:
    """Return what state.json holds: all that is neither a tensor nor a process's own."""
    scaler = run.accelerator.scaler
    return {
        "clock": run.clock.state_dict(),
        "schedule": run.schedule.state_dict(),
        "scaler": None if scaler is None else scaler.state_dict(),
        "num_skipped": run.num_skipped,
        "train_seconds": run.train_seconds,
        "stop_reason": run.stop_reason,
        "label_names": list(run.task.label_names),
        "journal": [asdict(record) for record in run.journal],
        "trainable": [name for name, value in run.encoder_with_head.named_parameters() if value.requires_grad],
        "parent": None if run.parent is None else asdict(run.parent),
        "hooks": [type(hook).__name__ for hook in run.hooks],
        "num_processes": run.accelerator.num_processes,
        "device": run.accelerator.device.type,
        "num_threads": torch.get_num_threads(),
        "environment": run.environment,
        "features": None if run.features is None else run.features.digest,
        "gave_features_up": run.gave_features_up,
        "rows_sha256": run.rows_sha256,
        "settings": run.config.to_dict(),
    }


def _load_optimizer(run: Run, saved: dict[str, Any], before: Mapping[str, Any], *, is_fork: bool) -> None:
    """Load the optimizer; a fork with other rates has its own, as if the edits so far had been made under them.

    The same holds for the momentum of a fork with another schedule: the parent's may have moved it.
    """
    own = [dict(group) for group in run.optimizer.param_groups]
    run.optimizer.load_state_dict(saved)
    if not is_fork:
        return
    kept = tuple(
        rate for rate, names in GROUP_RATES.items() if any(getattr(run.config, name) != before[name] for name in names)
    )
    if run.config.schedule != before["schedule"]:
        kept += MOMENTUM
    for group, values in zip(run.optimizer.param_groups, own, strict=True):
        group.update({name: values[name] for name in kept if name in values})


def _load_clock_and_schedule(run: Run, state: dict[str, Any], *, is_fork: bool) -> None:
    clock, schedule = dict(state["clock"]), dict(state["schedule"])
    if is_fork:  # which may be longer, or shorter
        clock["total_steps"] = run.clock.total_steps
        refuse_short_fork(clock["step"], run.clock.total_steps)
        if run.config.schedule_interval != state["settings"]["schedule_interval"]:
            schedule["num_steps"] = clock["step" if run.config.schedule_interval == "step" else "epoch"]
    run.clock.load_state_dict(clock)
    run.schedule.load_state_dict(schedule)
    if run.objective_differs or run.inputs_differ:
        run.schedule.forget_metrics()
    if is_fork:
        apply_schedule(run.optimizer, run.schedule)


def refuse_short_fork(step: int, total_steps: int) -> None:
    """Refuse a fork that has no step left.

    Args:
        step: after which it begins.
        total_steps: of its run.
    Raises:
        CheckpointError: saying how to make it longer.
    """
    if step >= total_steps:
        raise CheckpointError(
            f"The fork has {total_steps:,} steps and begins after step {step:,}: nothing is left to train. Raise "
            "--epochs or --max_steps."
        )


def _match_hooks(saved: list[str], hooks: list[Hook]) -> list[int | None]:
    """Return for each hook where its state is: that of the first of its class, the second of its class, ..."""
    places: list[int | None] = []
    left = [*enumerate(saved)]
    for hook in hooks:
        found = next((pair for pair in left if pair[1] == type(hook).__name__), None)
        if found is not None:
            left.remove(found)
        places.append(None if found is None else found[0])
    return places


def _refuse_other_hooks(path: Path, saved: list[str], hooks: list[Hook], places: list[int | None]) -> None:
    """Refuse hooks that a resumed run lacks or has too many.

    Raises:
        CheckpointError: if they have a state that would be lost.
    """
    new = [hook for hook, place in zip(hooks, places, strict=True) if place is None and hook.state_dict()]
    lost = [name for place, name in enumerate(saved) if place not in places]
    if new or lost:
        names = [type(hook).__name__ for hook in hooks]
        raise CheckpointError(f"{path} was written with the hooks {saved}, this run has {names}.")


def _bytes_needed(run: Run) -> int:
    """Return about how many bytes a checkpoint takes; files that are links take none."""
    tensors = [*run.encoder_with_head.state_dict().values(), *_tensors(run.optimizer.state_dict())]
    own = [tensor for hook in run.hooks for tensor in _tensors(hook.state_dict())]
    kept = [path.stat().st_size for name in _kept_files(run.hooks) if (path := run.directory / name).is_file()]
    hooks = sum(tensor.nbytes for tensor in own) * run.accelerator.num_processes
    return sum(tensor.nbytes for tensor in tensors) + hooks + sum(kept) + 2**20


def _tensors(value: Any) -> Iterable[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)


def _kept_files(hooks: Iterable[Hook]) -> list[str]:
    return [name for hook in hooks for name in hook.kept_files]


def _on_main(run: Run, work: Callable[[], None], target: Path, needed: int) -> None:
    _on_all(run, work if run.is_main else lambda: None, target, needed)


def _on_all(run: Run, work: Callable[[], None], target: Path, needed: int) -> None:
    """Do something on every process; if it fails on one, none goes on."""
    error: ValueError | None = None
    try:
        with durable.reporting_failure(target, needed=needed):
            work()
    except ValueError as caught:
        error = caught
    failures = [None if error is None else (isinstance(error, durable.StorageError), str(error))]
    if run.accelerator.num_processes > 1:
        failures = gather_object(failures)
    if error is not None:
        raise error
    for failure in failures:
        if failure is not None:
            raise durable.StorageError(failure[1]) if failure[0] else CheckpointError(failure[1])


def _weights(model: EncoderWithHead) -> dict[str, Tensor]:
    """Return all weights but the further names of shared ones, which safetensors does not take."""
    shared = model.all_tied_weights_keys
    return {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items() if name not in shared
    }


def _with_shared(model: EncoderWithHead, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights under all of their names."""
    shared = {name: weights[first] for name, first in model.all_tied_weights_keys.items() if first in weights}
    return {**weights, **shared}


def _read(path: Path) -> Any:
    """Return what torch saved: plain values and tensors.

    Raises:
        CheckpointError: if there is anything else in it, which could run code.
    """
    try:
        return torch.load(path, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path} holds more than plain values and tensors, and is not read.") from error
    except (EOFError, LookupError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {one_line(error)}.") from error


def _readable_state(hook: Hook) -> dict[str, Any]:
    """Return a hook's state.

    Raises:
        CheckpointError: if it holds what could not be read again: pickles of classes are refused.
    """
    with CodeOf(f"hook {type(hook).__name__} (state_dict)", hook.state_dict):
        state = hook.state_dict()
    buffer = io.BytesIO()
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

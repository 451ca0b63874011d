"""Put a fresh run into the state that a checkpoint holds.

Nothing in it is unpickled: weights are safetensors, the rest is JSON or is read with torch's weights_only loader.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import set_seed
from safetensors import SafetensorError
from safetensors.torch import load_file

from research.edits.records import objective_after
from research.learning.optimizer import GROUP_SETTINGS, MOMENTUM, apply_schedule
from research.settings.comparison import compare_settings
from research.settings.declarations import Stage
from research.settings.flags import names_where
from research.system import durable, random_states
from research.system.errors import one_line
from research.system.seeds import derived_seed
from research.system.user_code import CodeOf
from research.training.checkpoint.find import CheckpointError, Start, list_checkpoints, refuse, step_of
from research.training.checkpoint.replay import replay
from research.training.checkpoint.state import (
    read_records,
    read_state,
    with_shared,
)
from research.training.rounding import rounding_environment

if TYPE_CHECKING:
    from research.training.hook import Hook
    from research.training.run import TrainingRun


def load_checkpoint(run: TrainingRun, start: Start) -> None:
    """Put a fresh run into the state that a checkpoint holds.

    Raises:
        CheckpointError: if the checkpoint does not fit the run.
    """
    path, accelerator = start.checkpoint, run.accelerator
    state = read_state(path)
    same_rows = state["rows_sha256"] == run.batches.rows_sha256
    differences = compare_settings(state["settings"], run.config.to_dict(), same_rows=same_rows, is_fork=start.is_fork)
    refuse(path, differences.refused, is_fork=start.is_fork)
    notes = differences.notes
    hooks = [*run.hooks]
    places = _match_hooks(state["hooks"], hooks)
    if not start.is_fork:
        _refuse_other_hooks(path, state["hooks"], hooks, places)
    replay(run, read_records(state["journal"]), state.get("trainable"))
    _compare_metrics(run, state["settings"])
    same_place = state["device"] == accelerator.device.type and state["num_processes"] == accelerator.num_processes
    rank = accelerator.process_index if same_place else 0
    try:
        weights = load_file(path / "model.safetensors")
        run.encoder_with_head.load_state_dict(with_shared(run.encoder_with_head, weights), strict=True)
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
    run.totals.num_skipped, run.totals.train_seconds = state["num_skipped"], state["train_seconds"]
    if not differences.alters_training:  # an unchanged fork ends where its parent did
        run.stop_reason, run.asked_to_stop = state["stop_reason"], state["asked_to_stop"]
    for hook, place in zip(hooks, places, strict=True):
        if place is not None:
            with CodeOf(f"hook {type(hook).__name__} (load_state_dict)", hook.load_state_dict):
                hook.load_state_dict(hook_states[place])
            run.hooks.resumed.append(hook)
    notes += _follow_machine(run, state, same_place=same_place)
    notes += [
        f"{name} was {before}, now {now} (numbers may be rounded in another way)"
        for name, now in rounding_environment(accelerator.device).items()
        if (before := state["environment"].get(name)) != now
    ]
    about_cache = names_where(lambda declared: declared.affects_feature_cache)
    if all(getattr(run.config, name) == state["settings"].get(name) for name in about_cache):
        run.batches.cache_disabled = state.get("gave_features_up", False)
        run.origin.features_digest = state.get("features")
    for note in notes:
        run.print(f"Changed since the checkpoint: {note}.")
    if run.origin.inputs_differ:
        run.print(
            "Evaluations read more or less of each text from here on: earlier metrics are not compared with new ones."
        )
    run.origin.start = start


def _compare_metrics(run: TrainingRun, before: Mapping[str, Any]) -> None:
    """Know whether metrics from before the checkpoint compare with those after it, given its run's settings."""
    journal = run.applied_edits.journal
    objective = objective_after(run.config.objective, journal)
    run.origin.objective_differs = objective != objective_after(before["objective"], journal)
    inputs = names_where(lambda declared: declared.stage is Stage.INPUTS)
    run.origin.inputs_differ = any(getattr(run.config, name) != before[name] for name in inputs)


def _follow_machine(run: TrainingRun, state: dict[str, Any], *, same_place: bool) -> list[str]:
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


def retire_later_checkpoints(run: TrainingRun) -> None:
    """Delete checkpoints of steps that the run is yet to take; called on the main process.

    They belong to the path that was abandoned by resuming from an earlier checkpoint (or by skipping a damaged one).
    Left in place, the next `--resume auto` would take one of them, and `--keep` would delete the new ones instead.
    """
    later = [path for path in list_checkpoints(run.directory) if step_of(path) > run.clock.step]
    for checkpoint in reversed(later):
        durable.rename_and_remove(checkpoint)
    if later:
        names = ", ".join(path.name for path in later)
        run.print(f"The run continues after step {run.clock.step:,}: deleted the later checkpoints {names}.")


def _load_optimizer(run: TrainingRun, saved: dict[str, Any], before: Mapping[str, Any], *, is_fork: bool) -> None:
    """Load the optimizer; a fork with other rates has its own, as if the edits so far had been made under them.

    The same holds for the momentum of a fork with another schedule: the parent's may have moved it.
    """
    own = [dict(group) for group in run.optimizer.param_groups]
    run.optimizer.load_state_dict(saved)
    if not is_fork:
        return
    kept = tuple(
        key for key, names in GROUP_SETTINGS.items() if any(getattr(run.config, name) != before[name] for name in names)
    )
    if run.config.schedule != before["schedule"]:
        kept += MOMENTUM
    for group, values in zip(run.optimizer.param_groups, own, strict=True):
        group.update({name: values[name] for name in kept if name in values})


def _load_clock_and_schedule(run: TrainingRun, state: dict[str, Any], *, is_fork: bool) -> None:
    clock, schedule = dict(state["clock"]), dict(state["schedule"])
    if is_fork:  # which may be longer, or shorter
        clock["total_steps"] = run.clock.total_steps
        refuse_short_fork(clock["step"], run.clock.total_steps)
        if run.config.schedule_interval != state["settings"]["schedule_interval"]:
            schedule["num_steps"] = clock["step" if run.config.schedule_interval == "step" else "epoch"]
    run.clock.load_state_dict(clock)
    run.schedule.load_state_dict(schedule)
    if run.origin.objective_differs or run.origin.inputs_differ:
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

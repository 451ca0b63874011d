"""Load a checkpoint into a run that has not started.

No objects are unpickled: tensors are in safetensors files, everything else is JSON.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import set_seed
from safetensors import SafetensorError

from research.edits.records import objective_after
from research.learning.optimizer import MOMENTUM_KEYS, SETTINGS_BY_GROUP_KEY, apply_schedule
from research.settings.comparison import compare_settings
from research.settings.declarations import Stage
from research.settings.flags import names_where
from research.system import durable, random_states
from research.system.errors import one_line
from research.system.indexed_tensors import open_tensors, read_as_split
from research.system.seeds import derive_seed
from research.system.sharded_tensors import local_part
from research.system.user_code import ErrorsAttributedTo
from research.training.checkpoint.find import (
    CheckpointError,
    StartCheckpoint,
    list_checkpoints,
    refuse_changed_settings,
    step_of,
)
from research.training.checkpoint.optimizer_files import load_optimizer
from research.training.checkpoint.replay import replay
from research.training.checkpoint.state import HOOKS, PROCESS, WEIGHTS, read_records, read_state, select_weights
from research.training.checkpoint.value_files import read_values
from research.training.rounding import rounding_environment

if TYPE_CHECKING:
    from research.model.encoder_with_head import EncoderWithHead
    from research.training.hook import Hook
    from research.training.run import TrainingRun


def load_checkpoint(run: TrainingRun, start: StartCheckpoint) -> None:
    """Load a checkpoint into a run that has not started.

    Raises:
        CheckpointError: if the checkpoint does not fit the run.
    """
    path, accelerator = start.checkpoint, run.accelerator
    state = read_state(path)
    same_rows = state["rows_sha256"] == run.batches.rows_sha256
    differences = compare_settings(state["settings"], run.config.to_dict(), same_rows=same_rows, is_fork=start.is_fork)
    refuse_changed_settings(path, differences.refused, is_fork=start.is_fork)
    notes = differences.notes
    hooks = [*run.hooks]
    positions = _match_hooks(state["hooks"], hooks)
    if not start.is_fork:
        _check_same_hooks(path, state["hooks"], hooks, positions)
    replay(run, read_records(state["journal"]), state.get("trainable"))
    _compare_objective_and_inputs(run, state["settings"])
    same_launch = state["device"] == accelerator.device.type and state["num_processes"] == accelerator.num_processes
    rank = accelerator.process_index if same_launch else 0  # otherwise every process loads the main process's states
    try:
        _load_weights(run.encoder_with_head, path)
        _load_optimizer(run, path, state["settings"], is_fork=start.is_fork)
        _load_clock_and_schedule(run, state, is_fork=start.is_fork)
        process_state = _read_process_state(run, path, rank)
        hook_states = process_state["hooks"]
        if not isinstance(hook_states, list) or len(hook_states) != len(state["hooks"]):
            raise CheckpointError(f"{path} does not contain one state per hook.")
        if same_launch:
            random_states.restore(process_state["random"], accelerator.device)
    except CheckpointError:
        raise
    except (OSError, RuntimeError, LookupError, TypeError, ValueError, AttributeError, SafetensorError) as error:
        raise CheckpointError(f"{path} does not fit this run: {one_line(error)}") from error
    if accelerator.scaler is not None and state["scaler"] is not None:
        accelerator.scaler.load_state_dict(state["scaler"])
    run.totals.continue_from(state, is_fork=start.is_fork)
    # A stop recorded in the checkpoint also holds for a resumed run, and for a fork that does not change training.
    if not differences.alters_training:
        run.stop_reason, run.requested_stop_reason = state["stop_reason"], state["requested_stop_reason"]
    for hook, position in zip(hooks, positions, strict=True):
        if position is not None:
            with ErrorsAttributedTo(f"hook {type(hook).__name__} (load_state_dict)", hook.load_state_dict):
                hook.load_state_dict(hook_states[position])
            run.hooks.resumed.append(hook)
    notes += _adapt_to_machine(run, state, same_launch=same_launch)
    notes += [
        f"{name} was {before}, now {now} (numbers may be rounded differently)"
        for name, now in rounding_environment(accelerator.device).items()
        if (before := state["environment"].get(name)) != now
    ]
    # If a setting of the feature cache has changed, the run decides again whether to use stored hidden states.
    cache_settings = names_where(lambda declared: declared.affects_feature_cache)
    if all(getattr(run.config, name) == state["settings"].get(name) for name in cache_settings):
        run.batches.cache_disabled = state["cache_disabled"]
        run.origin.features_digest = state.get("features")
    for note in notes:
        run.print(f"Changed since the checkpoint: {note}.")
    if run.origin.inputs_differ:
        run.print(
            "From here on, texts are truncated, or cut into windows, differently: earlier metrics are not compared "
            "with new ones."
        )
    run.origin.start = start


def _compare_objective_and_inputs(run: TrainingRun, before: Mapping[str, Any]) -> None:
    """Record in the run's origin whether metrics from before and after the checkpoint are comparable.

    Args:
        run: the run.
        before: settings of the checkpoint's run.
    """
    journal = run.applied_edits.journal
    objective = objective_after(run.config.objective, journal)
    run.origin.objective_differs = objective != objective_after(before["objective"], journal)
    inputs = names_where(lambda declared: declared.stage is Stage.INPUTS)
    run.origin.inputs_differ = any(getattr(run.config, name) != before[name] for name in inputs)


def _adapt_to_machine(run: TrainingRun, state: dict[str, Any], *, same_launch: bool) -> list[str]:
    """Set the checkpoint's number of threads, or new seeds if processes or device differ; return messages to print."""
    accelerator = run.accelerator
    if not same_launch:
        set_seed(derive_seed(run.config.seed, accelerator.process_index, run.clock.step))
        return [
            f"{state['num_processes']} processes on {state['device']} before, {accelerator.num_processes} on "
            f"{accelerator.device.type} now: examples and learning rates are the same, but numbers are rounded "
            "differently, and dropout drops different units"
        ]
    if run.config.num_threads or torch.get_num_threads() == state["num_threads"]:
        return []
    note = f"the default number of threads, now {torch.get_num_threads()}; using {state['num_threads']} as before"
    torch.set_num_threads(state["num_threads"])
    return [f"{note} (--num_threads)"]


def delete_later_checkpoints(run: TrainingRun) -> None:
    """Delete checkpoints of later steps than the run's current step; called on the main process.

    Such checkpoints are damaged, or were written before the run was resumed from an earlier checkpoint. If they stayed,
    the next `--resume auto` would use one of them, and `--keep` would keep them instead of checkpoints written next.
    """
    later = [path for path in list_checkpoints(run.directory) if step_of(path) > run.clock.step]
    for checkpoint in reversed(later):
        durable.rename_and_remove(checkpoint)
    if later:
        names = ", ".join(path.name for path in later)
        run.print(f"The run continues after step {run.clock.step:,}: deleted the later checkpoints {names}.")


def _load_weights(model: EncoderWithHead, path: Path) -> None:
    """Load all parameters and saved buffers. Each process reads only its parts of split parameters.

    Raises:
        CheckpointError: if weights are missing or unexpected.
    """
    targets = select_weights(model, model.state_dict())
    with open_tensors(path / WEIGHTS) as file, torch.no_grad():
        differing = sorted(file.names() ^ targets.keys())
        if differing:
            raise CheckpointError(
                f"{path} does not fit this run: weights that only one of them has are {', '.join(differing[:5])}"
                + (f" and {len(differing) - 5} more." if len(differing) > 5 else ".")
            )
        for name, target in targets.items():
            local_part(target).copy_(file.read_part(name, target))


def _read_process_state(run: TrainingRun, path: Path, rank: int) -> dict[str, Any]:
    """Return the random states and the states of hooks of a process, with split tensors split as the parameters are."""
    like = next(iter(run.encoder_with_head.parameters()))
    with contextlib.ExitStack() as stack:
        # Not every checkpoint contains tensors of hooks that are split.
        open_split = functools.cache(lambda: stack.enter_context(open_tensors(path / HOOKS)))
        value = read_values(path, f"{PROCESS}-{rank}", lambda name: read_as_split(open_split(), name, like))
    if not isinstance(value, dict) or value.keys() != {"random", "hooks"}:
        raise CheckpointError(f"{path} does not contain the state of process {rank}.")
    return value


def _load_optimizer(run: TrainingRun, path: Path, before: Mapping[str, Any], *, is_fork: bool) -> None:
    """Load the optimizer's state. In a fork, the parameter groups keep the fork's values of changed settings.

    For example, a fork with a different --lr keeps its own learning rates, to which the parent's edits have been
    applied. A fork with a different schedule keeps its own momentum, since the parent's schedule may have changed it.
    """
    fork_groups = [dict(group) for group in run.optimizer.param_groups]
    load_optimizer(path, run.optimizer, dict(run.encoder_with_head.named_parameters()))
    if not is_fork:
        return
    kept_keys = tuple(
        key
        for key, names in SETTINGS_BY_GROUP_KEY.items()
        if any(getattr(run.config, name) != before[name] for name in names)
    )
    if run.config.schedule != before["schedule"]:
        kept_keys += MOMENTUM_KEYS
    for group, values in zip(run.optimizer.param_groups, fork_groups, strict=True):
        group.update({name: values[name] for name in kept_keys if name in values})


def _load_clock_and_schedule(run: TrainingRun, state: dict[str, Any], *, is_fork: bool) -> None:
    clock, schedule = dict(state["clock"]), dict(state["schedule"])
    if is_fork:  # a fork may be longer or shorter than its parent
        clock["total_steps"] = run.clock.total_steps
        refuse_short_fork(clock["step"], run.clock.total_steps)
        if run.config.schedule_interval != state["settings"]["schedule_interval"]:
            # The schedule counts its own steps: one per step or one per epoch of the run.
            schedule["num_steps"] = clock["step" if run.config.schedule_interval == "step" else "epoch"]
    run.clock.load_state_dict(clock)
    run.batches.train.load_state_dict(state.get("train_rows", {}))
    run.schedule.load_state_dict(schedule)
    if run.origin.objective_differs or run.origin.inputs_differ:
        run.schedule.forget_metrics()
    if is_fork:
        apply_schedule(run.optimizer, run.schedule)


def refuse_short_fork(step: int, total_steps: int) -> None:
    """Refuse a fork that has no steps left.

    Args:
        step: the step after which the fork starts.
        total_steps: total number of steps of the fork.
    Raises:
        CheckpointError: if no steps are left; explains how to make the fork longer.
    """
    if step >= total_steps:
        raise CheckpointError(
            f"The fork has {total_steps:,} steps and starts after step {step:,}: no steps are left to train. Raise "
            "--epochs or --max_steps."
        )


def _match_hooks(saved: list[str], hooks: list[Hook]) -> list[int | None]:
    """Return for each hook the index of its state in the checkpoint; None if the checkpoint has no state for the hook.

    The n-th hook of a class gets the n-th state of that class.

    Args:
        saved: class names of the checkpoint's hooks.
        hooks: the run's hooks.
    """
    positions: list[int | None] = []
    unmatched = [*enumerate(saved)]
    for hook in hooks:
        match = next((pair for pair in unmatched if pair[1] == type(hook).__name__), None)
        if match is not None:
            unmatched.remove(match)
        positions.append(None if match is None else match[0])
    return positions


def _check_same_hooks(path: Path, saved: list[str], hooks: list[Hook], positions: list[int | None]) -> None:
    """Check that a resumed run has the checkpoint's hooks. Additional hooks are accepted if they have no state.

    Raises:
        CheckpointError: if a hook is missing, or an additional hook has a state.
    """
    new = [hook for hook, position in zip(hooks, positions, strict=True) if position is None and hook.state_dict()]
    lost = [name for position, name in enumerate(saved) if position not in positions]
    if new or lost:
        names = [type(hook).__name__ for hook in hooks]
        raise CheckpointError(
            f"{path} was written with the hooks {', '.join(saved)}; this run has {', '.join(names)}. Resume with the "
            "same hooks, or fork the run."
        )

"""Confirm a search: run its best configurations and the defaults with new seeds, and test them on the test rows."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna

from heads.registry import UnknownNameError
from research.runner.first_checks.check import check_first
from research.studies.command import StudyCommand
from research.studies.grid import StudySpec, Trial, check_arms, expand
from research.studies.progress import format_count
from research.studies.run_study import has_storage, storage_address
from research.studies.search.propose import DEFAULTS, Proposer
from research.studies.search.report import describe_tried
from research.studies.search.results import SearchTrial, best_first, mean_hours, read_search_trials
from research.studies.search.spec import CONFIRMATION, OBJECTIVE_NAMES, SearchSpec
from research.studies.search.warm_start import find_earlier_use
from research.studies.storage.study import Study
from research.studies.worker import TRIALS, try_read_result
from research.system.messages import logger


def plan_confirmation(
    command: StudyCommand, study: Study, proposer: Proposer, num_best: int, num_seeds: int
) -> tuple[StudyCommand, list[Trial]]:
    """Return the study that confirms a search, and its trials.

    Its arms are the settings of all trials without those that were searched (the baseline), and the configurations with
    the best validation metric. Its seeds are neither the search's nor those of earlier studies that informed it. It is
    scored on the test rows.

    Args:
        command: the command line of the search.
        study: the search in its storage.
        proposer: the search's proposer.
        num_best: number of configurations to confirm; with two objectives, all best trade-offs if there are fewer.
        num_seeds: number of seeds of each arm.
    Raises:
        ValueError: if the search has too few finished trials (with two objectives, none), or if an arm is invalid.
    """
    tried = read_search_trials(study.entries().values())
    best = best_first(tried, higher_is_better=study.higher_is_better)
    if proposer.search.minimize is not None and 0 < len(best) < num_best:
        # More trials do not always give more trade-offs: one of them may be better than all others in both objectives.
        found = format_count(len(best), "best trade-off")
        logger.info(f"Confirming {found} instead of {num_best} configurations, because the search has no more.")
        num_best = len(best)
    if len(best) < num_best:
        raise ValueError(
            f"--confirm needs {num_best} finished trials of the search {study.name}; it has {len(best)}. Increase the "
            "budget, or promote pruned trials."
        )
    selection = {
        "tried": describe_tried(study, proposer.search),
        "values": [trial.metric for trial in tried],
        "hours": mean_hours(tried),
        "space": {name: str(dimension) for name, dimension in proposer.space.items()},
        "search": _describe_search(study, proposer.search),
        "device_hours": _device_hours(study, command.directory),
    }
    if proposer.search.minimize is not None:
        selection |= {"minimized": proposer.search.minimize, "second_values": [trial.second for trial in tried]}
    directory = command.directory / CONFIRMATION
    earlier = find_earlier_use(proposer.search.warm_start)
    spec = _spec_of(command.spec, proposer, best[:num_best], num_seeds, earlier.seeds)
    was_confirmed = _were_test_rows_scored(dataclasses.replace(command, spec=spec, directory=directory))
    selection |= {
        "test_rows_were_scored": was_confirmed or bool(earlier.tested),
        "rule": _describe_rule(proposer.search, num_best, was_confirmed=was_confirmed, tested=earlier.tested),
    }
    spec = dataclasses.replace(spec, selection={**selection, **spec.selection})
    trials = expand(spec)
    check_arms(trials, check_first)
    size = f"{format_count(len(spec.arms), 'arm')} and {format_count(num_seeds, 'seed')}"
    logger.info(f"Confirming the search with {size} in {directory}.")
    return dataclasses.replace(command, spec=spec, options={}, directory=directory, notes=[]), trials


def _spec_of(
    search_spec: StudySpec,
    proposer: Proposer,
    best: Sequence[SearchTrial],
    num_seeds: int,
    earlier_seeds: Collection[int],
) -> StudySpec:
    """Return the specification of the confirmation; its selection has only the metrics of the arms in the search."""
    base = {name: value for name, value in search_spec.base.items() if name not in ("seed", "score_test")}
    defaults = proposer.default_trial()
    first_seed = max({defaults.seed, *earlier_seeds}) + 1
    arms: dict[str, dict[str, Any]] = {DEFAULTS: {}}
    validation: dict[str, float] = {}
    for each in best:
        changed = _changed_settings(each.trial, defaults)
        arm = _unused_name(each.trial, arms) if changed else DEFAULTS
        arms[arm], validation[arm] = changed, each.metric
    return StudySpec(
        name=f"{search_spec.name}/{CONFIRMATION}",
        about=f"Are the best configurations of the search {search_spec.name} better than the defaults?",
        base=base,
        arms=arms,
        grid={"seed": list(range(first_seed, first_seed + num_seeds))},
        baseline=DEFAULTS,
        metric=search_spec.metric,
        split="test",
        keep_models=search_spec.keep_models,
        selection={"validation": validation},
    )


def _describe_search(study: Study, search: SearchSpec) -> dict[str, Any]:
    """Return what determines the trials of a search in addition to its space, by name."""
    choices: dict[str, Any] = {}
    for num_before, each in study.choices(search):
        start = f" (from trial {num_before + 1} on)" if num_before else ""
        choices[f"sampler{start}"] = each.sampler
        choices[f"seed of the sampler{start}"] = each.seed
        choices[f"pruner{start}"] = each.pruner or "none"
    described = {
        "budget": search.describe_budget(),
        **choices,
        "version of Optuna": optuna.__version__,
        "second objective": search.minimize,
        "first points": search.points,
        "earlier studies that informed the sampler": search.warm_start,
    }
    return {name: value for name, value in described.items() if value not in (None, [])}


def _device_hours(study: Study, directory: Path) -> float | None:
    """Return the time of all trials of a search times their number of processes, in hours.

    Args:
        study: the search in its storage.
        directory: directory of the search.
    Returns:
        The device hours; None if the number of processes is not known, or differs between trials.
    """
    results = [try_read_result(directory / TRIALS / trial_id) for trial_id in study.entries()]
    world_sizes = {result["world_size"] for result in results if result is not None and "world_size" in result}
    return study.hours_used() * world_sizes.pop() if len(world_sizes) == 1 else None


def _were_test_rows_scored(command: StudyCommand) -> bool:
    """Return whether trials of an earlier confirmation had scored test rows when the arms were chosen.

    Repeating a confirmation with the same arms, for example after an interruption, does not choose them again.

    Args:
        command: the confirmation.
    """
    if not has_storage(command):
        return False
    try:
        with Study(command.spec.name, storage_address(command), must_exist=True) as study:
            if all(entry.status != "finished" for entry in study.entries().values()):
                return False
            earlier = study.spec()
    except UnknownNameError:  # a database that has no confirmation of this search yet
        return False
    return _arms_of(earlier) != _arms_of(command.spec) or earlier.selection.get("test_rows_were_scored", False)


def _arms_of(spec: StudySpec) -> set[str]:
    """Return the settings of each arm as JSON, the form in which a storage has them."""
    return {json.dumps(settings, sort_keys=True, default=str) for settings in spec.arms.values()}


def _describe_rule(search: SearchSpec, num_best: int, *, was_confirmed: bool, tested: Sequence[str]) -> str:
    """Describe how configurations were chosen.

    Args:
        search: the search.
        num_best: number of chosen configurations.
        was_confirmed: whether trials of an earlier confirmation of the search had scored test rows.
        tested: earlier studies that informed the search and had scored test rows.
    """
    configurations = "configuration" if num_best == 1 else f"{num_best} configurations"
    among = "finished trials" if search.minimize is None else f"best trade-offs with {OBJECTIVE_NAMES[search.minimize]}"
    verb = "was" if num_best == 1 else "were"
    chosen = f"The {configurations} with the best metric on validation rows {verb} chosen among the {among}"
    if was_confirmed:
        chosen += (
            ". Test rows had been scored before this choice, by trials of an earlier confirmation with other "
            "configurations. The metrics on test rows may therefore have affected how the search was continued"
        )
    if tested:
        chosen += (
            ". Test rows had been scored before the search, by earlier studies that informed it "
            f"({', '.join(tested)}). The metrics on test rows may therefore have affected how the search was planned"
        )
    if not was_confirmed and not tested:
        chosen += ", before any test rows were scored"
    return f"{chosen}. These settings and the defaults then ran with new seeds."


def _unused_name(trial: Trial, arms: Mapping[str, Any]) -> str:
    """Return the name of a trial's arm; two configurations may have the same name, because it has rounded numbers."""
    return f"{trial.arm} ({trial.id})" if trial.arm in arms else trial.arm


def _changed_settings(trial: Trial, defaults: Trial) -> dict[str, Any]:
    return {name: value for name, value in trial.settings.items() if value != defaults.settings[name]}

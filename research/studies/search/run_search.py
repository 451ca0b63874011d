"""Execute a search: check its space, run its trials, and write its report."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from optuna.distributions import CategoricalDistribution
from rich.table import Table

from heads.registry import UnknownNameError, describe_unknown
from research.runner.first_checks.check import check_first
from research.runner.resolve import resolve
from research.settings.config import RunConfig
from research.studies.command import StudyCommand
from research.studies.devices import assign_devices
from research.studies.grid import check_arms
from research.studies.launcher import read_launcher
from research.studies.progress import format_count
from research.studies.run_study import (
    check_split_and_metric,
    create_study,
    has_storage,
    run_study,
    storage_address,
)
from research.studies.search.confirm import plan_confirmation
from research.studies.search.optuna_objects import create_pruner, create_sampler, to_distribution
from research.studies.search.propose import Proposer
from research.studies.search.report import report_search
from research.studies.search.space import Dimension, Values
from research.studies.search.spec import parse_confirm
from research.studies.search.warm_start import read_earlier_trials
from research.studies.storage.study import Study
from research.studies.supervise import Supervisor
from research.system.messages import logger
from research.system.terminal import Terminal


def run_search(command: StudyCommand) -> int:
    """Run a search, or show its space with --dry_run, and return the exit status.

    Args:
        command: the parsed command line of a study with a section `search`.
    Raises:
        ValueError: if a setting is invalid or the storage cannot be used.
    """
    console = Terminal()
    spec, settings = command.spec, command.settings
    devices = assign_devices(read_launcher(settings.accelerate_config), settings.workers)
    for note in filter(None, [*command.notes, devices.describe_sharing()]):
        logger.info(note)
    proposer = Proposer(spec)
    search = proposer.search
    create_sampler(search.sampler_choice, search.seed)  # refuses unknown names and options
    if search.pruner_choice is not None:
        create_pruner(search.pruner_choice)
    boundary_trials = proposer.boundary_trials()
    check_arms(boundary_trials, _check_config)
    check_split_and_metric(spec, boundary_trials)
    confirmed = None if settings.confirm is None else parse_confirm(settings.confirm)
    if confirmed is not None:
        check_split_and_metric(dataclasses.replace(spec, search={}, split="test"), boundary_trials)
    if command.dry_run:
        _print_space(console, proposer)
        if confirmed is not None:
            num_best, num_seeds = confirmed
            logger.info(f"Then the best {num_best} configurations and the defaults run with {num_seeds} new seeds.")
        return 0
    _refuse_changed_values(command, proposer)
    with create_study(command) as study:
        study.requeue_dead_trials()
        for source in search.warm_start:
            earlier = read_earlier_trials(source, spec, proposer.space)
            study.add_earlier(source, earlier.trials)
            logger.info(earlier.describe())
        _promote(study, settings.promote_ids)
        supervisor = Supervisor(
            study, (), command.directory, devices, settings.accelerate_config, settings.trial_timeout, search
        )
        status = supervisor.run(console) or report_search(console, study, search)
        if confirmed is None or status > 1:  # a signal ended the search
            return status
        confirmation, trials = plan_confirmation(command, study, proposer, *confirmed)
    return max(status, run_study(confirmation, trials))


def _check_config(config: RunConfig) -> None:
    check_first(config)
    # The precision is not known here, because the launcher may choose it; "no" is a placeholder.
    resolve(dataclasses.replace(config, mixed_precision="no"))


def _print_space(console: Terminal, proposer: Proposer) -> None:
    search = proposer.search
    table = Table("setting", "values", "scale")
    for name, dimension in proposer.space.items():
        table.add_row(name, str(dimension), _describe_scale(dimension))
    console.print(table)
    pruner = "none" if search.pruner_choice is None else search.pruner_choice.name
    logger.info(f"Budget: {search.describe_budget()}. Sampler: {search.sampler_choice.name}. Pruner: {pruner}.")
    if search.points:
        logger.info(f"The search starts with {format_count(len(search.points), 'given point')}.")


def _describe_scale(dimension: Dimension) -> str:
    if isinstance(dimension, Values):
        return f"{len(dimension.values)} values"
    kind = "integers" if dimension.is_integer else "numbers"
    if dimension.is_log:
        return f"{kind}, logarithmic"
    return kind if dimension.step is None else f"{kind}, in steps of {dimension.step:g}"


def _refuse_changed_values(command: StudyCommand, proposer: Proposer) -> None:
    """Refuse to continue a search with other values in a list, which Optuna does not support.

    Raises:
        ValueError: naming the setting.
    """
    if not has_storage(command):
        return
    with Study(command.spec.name, storage_address(command)) as study:
        earlier = study.distributions()
    for name, dimension in proposer.space.items():
        wanted = to_distribution(dimension)
        stored = earlier.get(name, wanted)
        if type(stored) is not type(wanted) or (isinstance(wanted, CategoricalDistribution) and stored != wanted):
            raise ValueError(
                f"The search {command.spec.name} started with other values of {name}, and its sampler cannot change "
                f"them. Start a new search with another --name and --warm_start {command.directory}."
            )


def _promote(study: Study, ids: Sequence[str]) -> None:
    """Continue pruned trials.

    Raises:
        ValueError: if a trial does not exist, or is not pruned.
    """
    entries = study.entries()
    for trial_id in ids:
        if trial_id not in entries:
            pruned = [entry.trial.id for entry in entries.values() if entry.status == "pruned"]
            raise UnknownNameError(describe_unknown("trial to promote", trial_id, pruned, listed_as="Pruned trials"))
        if (status := entries[trial_id].status) not in ("pruned", "finished"):
            raise ValueError(f"Expected a pruned trial to promote; {trial_id} is {status}.")
    for trial_id in ids:
        if entries[trial_id].status == "pruned":  # otherwise it was promoted before
            study.promote(entries[trial_id])

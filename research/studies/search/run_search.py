"""Execute a search: check its space, run its trials, and write its report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from optuna.distributions import CategoricalDistribution
from rich.table import Table

from heads.registry import UnknownNameError, describe_unknown
from research.runner.first_checks.check import check_first
from research.runner.resolve import resolve_trial
from research.settings.config import RunConfig
from research.settings.flags import names_where
from research.studies.command import StudyCommand
from research.studies.effects import check_effects
from research.studies.grid import check_arms
from research.studies.kept_models import remove_unkept_files
from research.studies.progress import format_count
from research.studies.run_study import (
    check_data,
    create_study,
    has_storage,
    open_study,
    run_study,
)
from research.studies.search.confirm import plan_confirmation
from research.studies.search.optuna_objects import create_pruner, create_sampler, to_distribution
from research.studies.search.propose import Proposer
from research.studies.search.report import metric_name, report_search, write_search_page
from research.studies.search.space import Dimension, Values
from research.studies.search.spec import SearchSpec, parse_confirm, parse_search
from research.studies.search.warm_start import read_earlier_trials
from research.studies.statistics.power import MIN_SEEDS
from research.studies.storage.study import Study
from research.studies.storage.trials import PROMOTED, StorageEntry
from research.studies.supervise import Supervisor
from research.studies.worker import TRIALS
from research.studies.worker_count import assign_workers
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
    for note in command.notes:
        logger.info(note)
    proposer = Proposer(spec)
    search = proposer.search
    create_sampler(search.sampler_choice, search.seed, rank=0)  # refuses unknown names and options
    if search.pruner_choice is not None:
        create_pruner(search.pruner_choice)
    boundary_trials = proposer.boundary_trials()
    check_arms(boundary_trials, _check_config)
    configs = [trial.config() for trial in boundary_trials]
    check_effects(configs)
    devices = assign_workers(settings.workers, settings.accelerate_config, configs, search.trials)
    confirmed = None if settings.confirm is None else parse_confirm(settings.confirm)
    if confirmed is not None:
        _check_confirmation(*confirmed, search)
    check_data(spec, boundary_trials, later_splits=() if confirmed is None else ("test",))
    if search.pruner_choice is not None and any(not trial.settings["evaluate_every"] for trial in boundary_trials):
        raise ValueError("A pruner needs evaluations during training: set --evaluate_every, for example to 10%.")
    if command.dry_run:
        for source in search.warm_start:
            logger.info(read_earlier_trials(source, spec, proposer).describe())
        _print_space(console, proposer)
        _describe_storage(command, proposer)
        if confirmed is not None:
            num_best, num_seeds = confirmed
            logger.info(f"Then the best {num_best} configurations and the defaults run with {num_seeds} new seeds.")
        return 0
    if command.submission is not None:
        # Imported only now, because it needs an optional package.
        from research.studies.submission.submit import submit_workers
    with create_study(command, lambda study: _refuse_changed_search(study, command, proposer)) as study:
        study.record_choices(search)
        study.requeue_dead_trials()
        for source in search.warm_start:
            earlier = read_earlier_trials(source, spec, proposer)
            study.add_earlier(earlier.trials)
            logger.info(earlier.describe())
        _promote(study, settings.promote_ids)
        if settings.retry_failed:
            logger.info(f"{format_count(study.rerun_failed(), 'failed trial')} run again.")
        if command.submission is not None and submit_workers(study, command, search):
            return 0
        supervisor = Supervisor(
            study, (), command.directory, devices, settings.accelerate_config, settings.trial_timeout, search
        )
        status = supervisor.run(console)
        remove_unkept_files(study.spec(), study.entries().values(), command.directory / TRIALS)
        status = status or report_search(console, study, proposer, spec, command.directory)
        if confirmed is None or status > 1:  # a signal ended the search
            return status
        confirmation, trials = plan_confirmation(command, study, proposer, *confirmed)
    status = max(status, run_study(confirmation, trials))
    with open_study(command) as study:
        write_search_page(study, proposer, spec, command.directory)  # now with a link to the confirmation
    return status


def _check_config(config: RunConfig) -> None:
    check_first(config)
    resolve_trial(config)


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


def _describe_storage(command: StudyCommand, proposer: Proposer) -> None:
    """Print how many trials a search already has, for a dry run.

    Raises:
        ValueError: if the search cannot be continued with this command.
    """
    entries: dict[str, StorageEntry] = {}
    if has_storage(command):
        with open_study(command) as study:
            study.refuse_other_kind(command.spec)
            _refuse_changed_search(study, command, proposer)
            entries = study.entries()
    _check_promoted(entries, command.settings.promote_ids)
    if entries:
        counts = Counter(entry.status for entry in entries.values())
        states = ", ".join(f"{number} {status}" for status, number in counts.items())
        logger.info(f"So far: {format_count(len(entries), 'trial')}, {states}.")


def _describe_scale(dimension: Dimension) -> str:
    if isinstance(dimension, Values):
        return format_count(len(dimension.values), "value")
    kind = "integers" if dimension.is_integer else "numbers"
    if dimension.is_log:
        return f"{kind}, logarithmic"
    return kind if dimension.step is None else f"{kind}, in steps of {dimension.step:g}"


def _refuse_changed_search(study: Study, command: StudyCommand, proposer: Proposer) -> None:
    """Refuse to continue a search if its old and new results would not be comparable, or if Optuna cannot.

    Raises:
        ValueError: if the settings of all trials, the objectives, the points, or the values in a list have changed.
    """
    spec = command.spec
    earlier = study.distributions()
    started = study.spec() if earlier else spec
    warm_start = "" if proposer.search.minimize is not None else f" and --warm_start {command.directory}"
    advice = f"Start a new search with another --name{warm_start}."
    if names := _changed_base(Proposer(started), proposer):
        raise ValueError(f"The search {spec.name} started with other settings of all trials ({names}). {advice}")
    first_metric, metric = (metric_name(each, [*study.entries().values()]) for each in (started, spec))
    if first_metric != metric:
        raise ValueError(f"The search {spec.name} started with {first_metric}, not {metric}. {advice}")
    for key in ("minimize", "points"):
        if (before := getattr(parse_search(started.search), key)) != (now := getattr(proposer.search, key)):
            raise ValueError(f"The search {spec.name} started with {key} {before}, not {now}. {advice}")
    for name, dimension in proposer.space.items():
        wanted = to_distribution(dimension)
        stored = earlier.get(name, wanted)
        if type(stored) is not type(wanted) or (isinstance(wanted, CategoricalDistribution) and stored != wanted):
            raise ValueError(
                f"The search {spec.name} started with other values of {name}, and its sampler cannot change them. "
                f"{advice}"
            )


def _check_confirmation(num_best: int, num_seeds: int, search: SearchSpec) -> None:
    """Check early whether a search can be confirmed.

    Raises:
        ValueError: if the search has too few trials.
    """
    if search.trials is not None and search.trials < num_best and search.minimize is None:
        raise ValueError(
            f"--confirm needs {format_count(num_best, 'finished trial')}, but the search has a budget of "
            f"{search.describe_budget()}. Increase --trials, or confirm fewer configurations."
        )
    if num_seeds < MIN_SEEDS:
        logger.info(f"The confirmation will give no verdict: it needs {MIN_SEEDS} seeds, but has {num_seeds}.")


def _changed_base(started: Proposer, proposer: Proposer) -> str:
    """Return the names of the settings of all trials that have changed, except those that are searched."""
    before, now = (each.default_trial().settings for each in (started, proposer))
    names = names_where(lambda declared: declared.distinguishes_trials)
    changed = [name for name in names if name not in proposer.space and before[name] != now[name]]
    return ", ".join([*changed, *(["arms"] if started.arms != proposer.arms else [])])


def _promote(study: Study, ids: Sequence[str]) -> None:
    """Continue pruned trials.

    Raises:
        ValueError: if a trial does not exist, or is not pruned.
    """
    entries = study.entries()
    _check_promoted(entries, ids)
    for trial_id in ids:
        if PROMOTED not in entries[trial_id].attributes and entries[trial_id].status == "pruned":
            study.promote(entries[trial_id])


def _check_promoted(entries: Mapping[str, StorageEntry], ids: Sequence[str]) -> None:
    """Check that trials that are to be promoted exist, and are pruned or were promoted before.

    Raises:
        ValueError: if a trial does not exist, or is not pruned.
    """
    for trial_id in ids:
        if trial_id not in entries:
            pruned = [entry.trial.id for entry in entries.values() if entry.status == "pruned"]
            raise UnknownNameError(describe_unknown("trial to promote", trial_id, pruned, listed_as="Pruned trials"))
        # A trial that was promoted before may be waiting, for example if this command is repeated after an interrupt.
        if (status := entries[trial_id].status) != "pruned" and PROMOTED not in entries[trial_id].attributes:
            raise ValueError(f"Expected a pruned trial to promote; {trial_id} is {status}.")

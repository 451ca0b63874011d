"""Execute a study: plan its trials, run those without a result, and write its report."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.table import Table

from research.data.batches.sampling import check_sampling
from research.data.prepare.load import load_splits
from research.data.prepare.unlabelled import SPLIT_THAT_MAY_LACK_LABELS
from research.runner.resolve import resolve_trial
from research.settings.comparison import compare_settings
from research.settings.config import RunConfig
from research.settings.declarations import Stage
from research.settings.flags import names_where
from research.settings.forks import read_inherited_settings
from research.settings.smoke import reduce_for_smoke
from research.studies.command import StudyCommand, WorkerSettings
from research.studies.effects import check_effects
from research.studies.estimate import estimate_time
from research.studies.fork_points import check_common_pasts, check_fork_points
from research.studies.grid import StudySpec, Trial, check_arms
from research.studies.kept_models import log_removed_models, remove_unkept_files
from research.studies.outcomes import Outcome, StudyOutcomes, collect_outcomes, describe_unlabelled
from research.studies.progress import format_count, format_duration
from research.studies.storage.database import STORAGE_FILE, local_address
from research.studies.storage.study import Study
from research.studies.storage.trials import StorageEntry
from research.studies.supervise import Supervisor
from research.studies.worker import CANNOT_WRITE_STATUS, TRIALS, Worker, log_path, trains_head_only, try_read_result
from research.studies.worker_count import assign_workers
from research.system.durable import StorageError, write_text
from research.system.errors import print_error
from research.system.lock import DirectoryLock
from research.system.messages import KEEP_LINE_BREAKS, logger, messages_muted
from research.system.plain_text import for_terminal
from research.system.terminal import Terminal
from research.system.waiting import WaitingMessage
from research.tasks.metric_names import check_metric, higher_is_better
from research.training.checkpoint.find import refuse_changed_settings

STUDY_FILE = "study.yaml"


def run_study(command: StudyCommand, trials: Sequence[Trial], parents: Sequence[Trial] = ()) -> int:
    """Run a study, or list its trials with --dry_run, and return the exit status.

    Args:
        command: the parsed command line.
        trials: trials of the grid.
        parents: the trials that they fork.
    Raises:
        ValueError: if a setting is invalid or the storage cannot be used.
    """
    console = Terminal()
    spec, directory = command.spec, command.directory
    all_trials, settings = [*parents, *trials], command.settings
    for note in command.notes:
        logger.info(note)
    configs = [trial.config() for trial in all_trials]
    devices = assign_workers(settings.workers, settings.accelerate_config, configs, len(all_trials))
    check_arms(all_trials, resolve_trial)
    check_effects(configs)
    check_fork_settings(trials, parents)
    with messages_muted():
        check_common_pasts(trials, parents)
    _refuse_unscored_test_rows(spec, trials)
    check_data(spec, trials)
    address = storage_address(command)
    if any(trial.settings["fork"] is not None for trial in trials):
        stored: dict[str, StorageEntry] = {}
        if has_storage(command):
            with Study(spec.name, address, must_exist=True) as study:
                stored = study.entries()
        # Trials in the storage were checked when they were added.
        check_fork_points([trial for trial in trials if trial.id not in stored])
    if command.dry_run:
        entries: dict[str, StorageEntry] = {}
        if has_storage(command):
            with open_study(command) as study:
                entries = study.entries()
        print_plan(console, command, all_trials, entries, devices.num_workers)
        return 0
    if command.submission is not None:
        # Imported only now, because it needs an optional package.
        from research.studies.submission.submit import submit_workers
    with create_study(command) as study:
        logger.info(_update_storage(study, all_trials, command))
        if command.submission is not None and submit_workers(study, command):
            return 0
        supervisor = Supervisor(
            study, all_trials, directory, devices, settings.accelerate_config, settings.trial_timeout
        )
        status = supervisor.run(console)
        remove_unkept_files(study.spec(), study.entries().values(), directory / TRIALS)
        outcomes = collect_outcomes(spec, trials, study.entries(), directory)
        return status or report_results(console, outcomes, show_texts=settings.report_texts)


@contextlib.contextmanager
def create_study(command: StudyCommand, check: Callable[[Study], None] | None = None) -> Iterator[Study]:
    """Create the study's directory and storage, or open existing ones, and hold the directory's lock.

    Args:
        command: the parsed command line.
        check: raises a ValueError if the command cannot continue an existing study, which then remains unchanged.
    Raises:
        ValueError: if the directory or the storage cannot be used, or if the study was a grid and is now a search, or
            the other way round.
    """
    spec, directory = command.spec, command.directory
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"Cannot create the study's directory {directory}: {error.strerror}.") from None
    lock = DirectoryLock()
    lock.acquire(directory)
    try:
        with open_study(command) as study:
            study.refuse_other_kind(spec)
            if check is not None:
                check(study)
            message = study.save_spec(dataclasses.asdict(spec))
            if message is not None:
                logger.info(message)
            content = yaml.safe_dump(dataclasses.asdict(spec), sort_keys=False, allow_unicode=True)
            write_text(directory / STUDY_FILE, content)
            yield study
    finally:
        lock.release()


def open_study(command: StudyCommand) -> Study:
    """Open a study's storage, and create the study if the storage does not have it."""
    spec = command.spec
    return Study(
        spec.name,
        storage_address(command),
        higher_is_better=spec.metric is None or higher_is_better(spec.metric),
        has_second_objective=spec.search.get("minimize") is not None,
    )


def storage_address(command: StudyCommand) -> str:
    """Return the address of a study's storage."""
    return command.settings.storage or local_address(command.directory.resolve())


def work(settings: WorkerSettings) -> int:
    """Run trials of a study until none is left, and return the exit status.

    Raises:
        ValueError: if the storage cannot be used or does not have the study.
    """
    with Study(settings.study, settings.storage, must_exist=True) as study:
        directory = Path("runs", settings.study) if settings.directory is None else Path(settings.directory)
        worker = Worker(
            study, study.spec(), directory, settings.accelerate_config, settings.num_workers, settings.trial_timeout
        )
        try:
            return worker.work()
        except StorageError as error:
            return print_error(error, CANNOT_WRITE_STATUS)


def check_fork_settings(trials: Sequence[Trial], parents: Sequence[Trial] = ()) -> None:
    """Check that the settings of each trial are compatible with the run that it forks.

    Args:
        trials: the trials.
        parents: trials of the study that they fork.
    Raises:
        ValueError: if they are not compatible; the message names the trial and the settings that must equal the
            parent's.
    """
    settings_by_parent = {parent.id: _stored_settings(parent) for parent in parents}
    for trial in trials:
        fork = trial.settings["fork"]
        if trial.parent_id is not None:
            fork, inherited = trial.parent_id, settings_by_parent[trial.parent_id]
        elif fork is not None:
            inherited = read_inherited_settings(fork)
        else:
            continue
        differences = compare_settings(inherited, _stored_settings(trial), same_rows=True, is_fork=True)
        try:
            refuse_changed_settings(Path(fork), differences.refused, is_fork=True)
        except ValueError as error:
            raise ValueError(f"{trial.arm}, seed {trial.unit}: {error}") from None


def _stored_settings(trial: Trial) -> dict[str, Any]:
    """Return a trial's resolved settings in the form in which a run stores them."""
    config = resolve_trial(trial.config())
    settings: dict[str, Any] = json.loads(json.dumps(config.to_dict()))
    return settings


def check_data(spec: StudySpec, trials: Sequence[Trial], *, later_splits: Collection[str] = ()) -> None:
    """Check before any trial runs that the compared split has labels, and that the task fits the metric and sampling.

    Args:
        spec: specification of the study.
        trials: its trials.
        later_splits: splits that are compared later, and must have labels too.
    Raises:
        ValueError: if a split has no labels, if the metric is unknown (the message suggests the nearest name and
            lists all metrics), if the labels do not allow a trial's --sampling, or if `spec` has a metric or folds or
            is a search, and the data cannot be read or divided.
    """
    must_load = spec.metric is not None or spec.search or any(trial.settings["folds"] is not None for trial in trials)
    if not must_load and spec.split != SPLIT_THAT_MAY_LACK_LABELS:
        return
    row_settings = {*names_where(lambda declared: declared.affects(Stage.ROWS))} - {"fold", "split_seed"}
    configs_by_rows: dict[str, list[RunConfig]] = {}  # one fold is enough
    for trial in trials:
        config = trial.config()
        config = reduce_for_smoke(config) if config.smoke else config
        rows = repr([getattr(config, name) for name in sorted(row_settings)])
        configs_by_rows.setdefault(rows, []).append(config)
    for configs in configs_by_rows.values():
        try:
            splits = load_splits(configs[0])
        except ValueError:
            if must_load:
                raise
            continue  # these trials will fail with the error, but trials on other data may succeed
        for split in (spec.split, *later_splits):
            if split in splits.unlabelled:
                raise ValueError(f"{configs[0].data}: {describe_unlabelled(split)}.")
        if spec.metric is not None:
            check_metric(spec.metric, splits.task)
        for config in configs:
            check_sampling(config.sampling, splits.task)


def _refuse_unscored_test_rows(spec: StudySpec, trials: Sequence[Trial]) -> None:
    """Refuse to compare trials on test rows that they do not score.

    Raises:
        ValueError: if a trial does not score the compared rows.
    """
    if spec.split == "test" and not all(trial.settings["score_test"] for trial in trials):
        raise ValueError("The study compares arms on test rows, but --score_test is false. Use --split validation.")


def report_results(console: Terminal, outcomes: StudyOutcomes, *, show_texts: bool = True) -> int:
    """Write the report, print the ranking and the failed trials, and return the exit status."""
    failed = [outcome for outcome in outcomes.outcomes if outcome.state == "failed"]
    with WaitingMessage("Computing statistics and writing the report"):
        # Imported only now, because no trial needs the libraries for statistics and drawing.
        from research.studies.report.console import ranking_lines
        from research.studies.report.contents import collect_contents
        from research.studies.report.page import write_contents

        contents = collect_contents(outcomes, show_texts=show_texts)
        path = write_contents(contents)
    for line in ranking_lines(contents):
        console.print(line)
    uncached = [outcome for outcome in outcomes.finished if _ran_encoder_in_every_epoch(outcome)]
    if uncached:
        logger.info(
            f"{len(uncached)} of {len(outcomes.finished)} trials ran the frozen encoder in every epoch; see "
            f"{log_path(outcomes.directory, uncached[0].trial.id)} for the reason."
        )
    log_removed_models(outcome.directory for outcome in outcomes.finished)
    for outcome in failed:
        arm = for_terminal(outcome.trial.arm)
        logger.info(f"failed: {arm}, seed {outcome.trial.unit}: {outcome.error}", extra=KEEP_LINE_BREAKS)
    if failed:
        logger.info(f"{len(failed)} of {len(outcomes.outcomes)} trials failed; --retry_failed runs them again.")
    logger.info(f"report: {path}")
    return 1 if failed else 0


def print_plan(
    console: Terminal,
    command: StudyCommand,
    trials: Sequence[Trial],
    entries: dict[str, StorageEntry],
    num_workers: int,
) -> None:
    """Print all trials with their states, and an estimate of the time for those whose results are missing."""
    table = Table("trial", "arm", "seed", "state")
    for trial in trials:
        entry = entries.get(trial.id)
        table.add_row(trial.id, trial.arm, str(trial.unit), "to do" if entry is None else entry.status)
    console.print(table)
    missing = [trial for trial in trials if trial.id not in entries or entries[trial.id].status != "finished"]
    num_arms = len({trial.arm for trial in trials if not trial.is_parent})
    num_pasts = sum(trial.is_parent for trial in trials)
    size = f"{format_count(len(trials) - num_pasts, 'trial')} of {format_count(num_arms, 'arm')}"
    if num_pasts:
        size += f" and {format_count(num_pasts, 'common past')}"
    logger.info(f"{size}, {len(missing)} to do.")
    num_earlier = _count_waiting_outside_grid(trials, entries)
    earlier = f"{format_count(num_earlier, 'waiting trial')} of an earlier grid"
    if num_earlier and command.settings.drop_waiting:
        logger.info(f"{earlier} will be removed.")
    elif num_earlier:
        logger.info(f"{earlier} will also run (--drop_waiting removes them).")
    if not missing:
        return
    logger.info("Estimating the time: measuring a few steps of each arm without finished trials.")
    accelerate_config = command.settings.accelerate_config
    estimate = estimate_time(missing, entries, num_workers, accelerate_config, command.spec.fork_at)
    for line in estimate.lines:
        logger.info(line)
    logger.info(
        f"About {format_duration(estimate.seconds)} in total, with {format_count(num_workers, 'trial')} at a time."
    )


def _ran_encoder_in_every_epoch(outcome: Outcome) -> bool:
    """Return whether a trial on this machine ran the encoder although it was meant to train on cached hidden states."""
    result = outcome.result or {}
    return trains_head_only(outcome.trial.config()) and not result.get("cached_features", True)


def has_storage(command: StudyCommand) -> bool:
    """Return whether a study may have a storage already."""
    return command.settings.storage is not None or (command.directory / STORAGE_FILE).exists()


def _update_storage(study: Study, trials: Sequence[Trial], command: StudyCommand) -> str:
    """Update the storage for the current grid, and return a message about what will be run.

    Dead trials are requeued. Trials are added if they are missing or if their run directories were deleted. With
    --retry_failed, failed trials are added again. With --drop_waiting, waiting trials of an earlier grid are removed.
    """
    settings = command.settings
    study.requeue_dead_trials()
    num_dropped = study.drop_waiting({trial.id for trial in trials}) if settings.drop_waiting else 0
    entries = study.entries()
    grid_entries = [entries[trial.id] for trial in trials if trial.id in entries]
    failed = [entry.trial.id for entry in grid_entries if entry.status == "failed"]
    deleted = [
        entry.trial.id
        for entry in grid_entries
        if entry.status == "finished" and _was_deleted(entry, command.directory)
    ]
    study.add(trials, rerun=[*deleted, *(failed if settings.retry_failed else [])])
    num_done = sum(entry.status == "finished" for entry in grid_entries) - len(deleted)
    num_to_do = len(trials) - num_done - (0 if settings.retry_failed else len(failed))
    parts = [f"{format_count(len(trials), 'trial')}: {num_done} finished, {num_to_do} to do"]
    if failed:
        parts.append(
            f"{len(failed)} failed ({'run again now' if settings.retry_failed else '--retry_failed runs them again'})"
        )
    if deleted:
        parts.append(f"{len(deleted)} run again because their run directories were deleted")
    if num_dropped:
        parts.append(f"{format_count(num_dropped, 'waiting trial')} of an earlier grid removed")
    num_earlier = _count_waiting_outside_grid(trials, entries)
    if num_earlier:
        parts.append(
            f"{format_count(num_earlier, 'waiting trial')} of an earlier grid also run (--drop_waiting removes them), "
            f"{num_to_do + num_earlier} to run in total"
        )
    return ", ".join(parts) + "."


def _count_waiting_outside_grid(trials: Sequence[Trial], entries: dict[str, StorageEntry]) -> int:
    """Return the number of waiting trials that are not in the current grid."""
    in_grid = {trial.id for trial in trials}
    return sum(entry.status == "waiting" and trial_id not in in_grid for trial_id, entry in entries.items())


def _was_deleted(entry: StorageEntry, directory: Path) -> bool:
    """Return whether a finished trial ran on this machine and its files were deleted."""
    run_directory = directory / TRIALS / entry.trial.id
    return entry.attributes.get("directory") == str(run_directory.resolve()) and try_read_result(run_directory) is None

"""Carry out a study: plan its trials, run what is missing, write its report."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import yaml
from optuna.trial import TrialState
from rich.table import Table

from research.data.prepare.load import load_splits
from research.data.prepare.unlabelled import MAY_BE_UNLABELLED
from research.runner.resolve import resolve
from research.settings.comparison import compare_settings
from research.settings.declarations import Effect
from research.settings.flags import names_where
from research.settings.forks import inherited_settings
from research.settings.smoke import smoke_settings
from research.studies.command import StudyCommand, WorkerSettings
from research.studies.devices import assign_devices
from research.studies.estimate import Estimate, estimate
from research.studies.fork_points import check_fork_points
from research.studies.grid import StudySpec, Trial, check_arms
from research.studies.launcher import read_launcher
from research.studies.outcomes import Outcome, StudyOutcomes, collect, describe_unlabelled
from research.studies.progress import duration
from research.studies.storage.database import STORAGE_FILE, local_address
from research.studies.storage.study import Study
from research.studies.storage.trials import DONE, Entry
from research.studies.supervise import Supervisor
from research.studies.worker import TRIALS, Worker, log_of, read_finished, trains_head_only
from research.system.durable import write_text
from research.system.lock import DirectoryLock
from research.system.messages import WITH_LINES, logger
from research.system.plain_text import for_terminal
from research.system.terminal import Terminal
from research.system.waiting import WaitingMessage
from research.tasks.metric_names import check_metric, higher_is_better
from research.training.checkpoint.find import refuse

STUDY_FILE = "study.yaml"


def run_study(command: StudyCommand, trials: Sequence[Trial]) -> int:
    """Run a study, or only list it; return the exit status.

    Args:
        command: what the command line asks for.
        trials: of its grid.
    Raises:
        ValueError: for settings that cannot be, or a storage that cannot be used.
    """
    console = Terminal()
    spec, directory = command.spec, command.directory
    shares = assign_devices(read_launcher(command.settings.accelerate_config), command.settings.workers)
    for note in filter(None, [*command.notes, shares.describe()]):
        logger.info(note)
    # What the launcher's precision will be is not known here.
    check_arms(trials, lambda config: resolve(dataclasses.replace(config, mixed_precision="no")))
    check_forks(trials)
    check_compared(spec, trials)
    address = command.settings.storage or local_address(directory.resolve())
    higher = spec.metric is None or higher_is_better(spec.metric)
    if any(trial.settings["fork"] is not None for trial in trials):
        known: dict[str, Entry] = {}
        if _has_storage(command):
            with Study(spec.name, address, higher_is_better=higher) as study:
                known = study.entries()
        check_fork_points([trial for trial in trials if trial.id not in known])
    if command.dry_run:
        entries: dict[str, Entry] = {}
        if _has_storage(command):
            with Study(spec.name, address) as study:
                entries = study.entries()
        show_plan(console, command, trials, entries)
        return 0
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"The study's directory {directory} cannot be made: {error.strerror}.") from None
    lock = DirectoryLock()
    lock.acquire(directory)
    try:
        with Study(spec.name, address, higher_is_better=higher) as study:
            changed = study.save_spec(dataclasses.asdict(spec))
            if changed is not None:
                logger.info(changed)
            content = yaml.safe_dump(dataclasses.asdict(spec), sort_keys=False, allow_unicode=True)
            write_text(directory / STUDY_FILE, content)
            logger.info(_add(study, trials, command))
            settings = command.settings
            supervisor = Supervisor(
                study, trials, directory, shares, settings.accelerate_config, settings.trial_timeout
            )
            status = supervisor.run(console)
            outcomes = collect(spec, trials, study.entries(), directory)
            return status or conclude(console, outcomes, show_texts=command.settings.report_texts)
    finally:
        lock.release()


def work(settings: WorkerSettings) -> int:
    """Take trials of a study until none is left; return the exit status.

    Raises:
        ValueError: if the storage cannot be used, or has no such study.
    """
    with Study(settings.study, settings.storage, must_exist=True) as study:
        place = Path("runs", settings.study) if settings.directory is None else Path(settings.directory)
        worker = Worker(
            study, study.spec(), place, settings.accelerate_config, settings.num_workers, settings.trial_timeout
        )
        return worker.work()


def check_forks(trials: Sequence[Trial]) -> None:
    """Refuse trials that cannot begin at the checkpoint that they fork.

    Raises:
        ValueError: naming the trial and what it must share with its parent.
    """
    for trial in trials:
        fork = trial.settings["fork"]
        if fork is None:
            continue
        config = resolve(dataclasses.replace(trial.config(), mixed_precision="no"))
        now = json.loads(json.dumps(config.to_dict()))
        differences = compare_settings(inherited_settings(fork), now, same_rows=True, is_fork=True)
        try:
            refuse(Path(fork), differences.refused, is_fork=True)
        except ValueError as error:
            raise ValueError(f"{trial.arm}, seed {trial.seed}: {error}") from None


def check_compared(spec: StudySpec, trials: Sequence[Trial]) -> None:
    """Refuse rows without labels, and a metric that the labels do not have, before any trial runs.

    Raises:
        ValueError: naming the nearest metric and all of them; or for data that cannot be used.
    """
    if spec.metric is None and spec.split != MAY_BE_UNLABELLED:
        return
    checked = set()
    about_rows = names_where(lambda declared: declared.effect is Effect.ROWS)
    for trial in trials:
        config = trial.config()
        config = smoke_settings(config) if config.smoke else config
        data = repr([getattr(config, name) for name in about_rows])
        if data in checked:
            continue
        checked.add(data)
        try:
            splits = load_splits(config)
        except ValueError:
            if spec.metric is None:  # the trial fails with this error, and others may not
                continue
            raise
        if spec.split in splits.unlabelled:
            raise ValueError(f"{config.data}: {describe_unlabelled(spec.split)}.")
        if spec.metric is not None:
            check_metric(spec.metric, splits.task)


def conclude(console: Terminal, outcomes: StudyOutcomes, *, show_texts: bool = True) -> int:
    """Write the report and say what came out; return the exit status."""
    failed = [outcome for outcome in outcomes.outcomes if outcome.state == "failed"]
    with WaitingMessage("Computing statistics and writing the report"):
        # Only now, since no trial needs the libraries for statistics and for drawing.
        from research.studies.report.console import ranking_lines
        from research.studies.report.contents import find_contents
        from research.studies.report.page import write_contents

        contents = find_contents(outcomes, show_texts=show_texts)
        path = write_contents(contents)
    for line in ranking_lines(contents):
        console.print(line)
    encoded_anew = [outcome for outcome in outcomes.finished if _computed_hidden_states(outcome)]
    if encoded_anew:
        logger.info(
            f"{len(encoded_anew)} of {len(outcomes.finished)} trials ran the frozen encoder in every epoch; why, says "
            f"{log_of(outcomes.directory, encoded_anew[0].trial.id)}."
        )
    for outcome in failed:
        arm = for_terminal(outcome.trial.arm)
        logger.info(f"failed: {arm}, seed {outcome.trial.seed}: {outcome.error}", extra=WITH_LINES)
    if failed:
        logger.info(f"{len(failed)} of {len(outcomes.outcomes)} trials failed; --retry_failed tries them once more.")
    logger.info(f"report: {path}")
    return 1 if failed else 0


def show_plan(console: Terminal, command: StudyCommand, trials: Sequence[Trial], entries: dict[str, Entry]) -> None:
    """Print every trial, where it is, and about how long all of them will take."""
    table = Table("trial", "arm", "seed", "state")
    for trial in trials:
        entry = entries.get(trial.id)
        table.add_row(trial.id, trial.arm, str(trial.seed), "to do" if entry is None else entry.state.name.lower())
    console.print(table)
    missing = [trial for trial in trials if trial.id not in entries or entries[trial.id].state not in DONE]
    logger.info(f"{len(trials)} trials of {len({trial.arm for trial in trials})} arms, {len(missing)} to do.")
    num_others = _count_waiting_others(trials, entries)
    if num_others and command.settings.drop_waiting:
        logger.info(f"{num_others} waiting trials of an earlier grid will be removed.")
    elif num_others:
        logger.info(f"{num_others} of an earlier grid wait too, and will be run as well (--drop_waiting removes them).")
    if not missing:
        return
    logger.info("Measuring a few steps of each arm that has no finished trial, for an estimate of the time.")
    found: Estimate = estimate(missing, entries, command.settings.workers, command.settings.accelerate_config)
    for line in found.lines:
        logger.info(line)
    logger.info(f"About {duration(found.seconds)} in all with {command.settings.workers} at a time.")


def _computed_hidden_states(outcome: Outcome) -> bool:
    """Return whether a trial of this machine that was to train on stored hidden states had none."""
    result = outcome.result or {}
    return trains_head_only(outcome.trial.config()) and not result.get("cached_features", True)


def _has_storage(command: StudyCommand) -> bool:
    return command.settings.storage is not None or (command.directory / STORAGE_FILE).exists()


def _add(study: Study, trials: Sequence[Trial], command: StudyCommand) -> str:
    """Put what is missing into the storage, and return a message about what will be run."""
    settings = command.settings
    study.requeue_dead_trials()
    asked = {trial.id for trial in trials}
    num_dropped = study.drop_waiting(asked) if settings.drop_waiting else 0
    entries = study.entries()
    mine = [entries[trial.id] for trial in trials if trial.id in entries]
    failed = [entry.trial.id for entry in mine if entry.state == TrialState.FAIL]
    gone = [entry.trial.id for entry in mine if entry.state in DONE and _is_gone(entry, command.directory)]
    study.add(trials, rerun=[*gone, *(failed if settings.retry_failed else [])])
    num_done = sum(entry.state in DONE for entry in mine) - len(gone)
    num_to_do = len(trials) - num_done - (0 if settings.retry_failed else len(failed))
    words = [f"{len(trials)} trials: {num_done} finished, {num_to_do} to do"]
    if failed:
        again = "tried once more" if settings.retry_failed else "left (--retry_failed tries them once more)"
        words.append(f"{len(failed)} failed, {again}")
    if gone:
        words.append(f"{len(gone)} of them anew, since their run directories are gone")
    if num_dropped:
        words.append(f"{num_dropped} waiting trials of an earlier grid removed")
    num_others = _count_waiting_others(trials, entries)
    if num_others:
        words.append(
            f"{num_others} of an earlier grid wait too and are run as well (--drop_waiting removes them), "
            f"{num_to_do + num_others} to run in all"
        )
    return ", ".join(words) + "."


def _count_waiting_others(trials: Sequence[Trial], entries: dict[str, Entry]) -> int:
    """Return how many trials wait that the grid does not ask for."""
    asked = {trial.id for trial in trials}
    return sum(entry.state == TrialState.WAITING and key not in asked for key, entry in entries.items())


def _is_gone(entry: Entry, directory: Path) -> bool:
    """Return whether the files of a finished trial of this machine were deleted."""
    place = directory / TRIALS / entry.trial.id
    return entry.attributes.get("directory") == str(place.resolve()) and read_finished(place) is None

"""Remove what a study does not keep of its trials: models (--keep_models) and its own checkpoints."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from research.records.results import read_result
from research.settings.run_files import BEST, CHECKPOINTS, MODEL, MODEL_REMOVED
from research.studies.grid import KEEP_BEST, StudySpec
from research.studies.search.results import best_first, read_search_trials
from research.studies.storage.trials import PAUSED, StorageEntry
from research.system import durable
from research.system.lock import DirectoryLock
from research.system.messages import logger
from research.system.paths import expand_path
from research.tasks.metric_names import higher_is_better


def remove_unkept_files(spec: StudySpec, entries: Collection[StorageEntry], trials_folder: Path) -> None:
    """Remove files of the finished trials on this machine that the study does not keep.

    These are model/ and best/, depending on --keep_models, and checkpoints/, unless the user has set --save_every: the
    study saves checkpoints so that trials can continue, and finished ones need not. All other files stay. So do models
    and checkpoints that another trial starts from or that a process uses.

    Args:
        spec: specification of the study.
        entries: all trials of the study.
        trials_folder: folder on this machine with the run directories of the trials.
    """
    finished = [entry for entry in entries if entry.status == "finished" and not entry.attributes.get(PAUSED)]
    keep_models = spec.keep_models or KEEP_BEST
    kept = _find_best(spec, finished) if keep_models == KEEP_BEST else set()
    needed = _paths_that_trials_start_from(entries)
    for entry in finished:
        directory = trials_folder / entry.trial.id
        is_here = directory.is_dir() and entry.attributes.get("directory") == str(directory.resolve())
        if not is_here or any(path.is_relative_to(directory.resolve()) for path in needed):
            continue
        try:
            if entry.trial.settings.get("save_every") is None:
                _remove_folders(directory, [CHECKPOINTS])
            if keep_models != "all" and entry.trial.id not in kept:
                note = f"The study removed the model of this trial (--keep_models {keep_models}).\n"
                _remove_folders(directory, [MODEL, BEST], note)
        except (OSError, ValueError) as error:
            logger.warning(f"Files in {directory} are not removed: {error}")


def count_removed_models(directories: Iterable[Path]) -> int:
    """Return the number of run directories on this machine whose models the study has removed."""
    return sum((directory / MODEL_REMOVED).exists() for directory in directories)


def log_removed_models(directories: Iterable[Path]) -> None:
    """Log the number of trials whose models were removed, if there are any.

    Args:
        directories: run directories of the finished trials.
    """
    num_removed = count_removed_models(directories)
    if num_removed:
        logger.info(
            f"Trials whose models were removed: {num_removed} (--keep_models best or none; --keep_models all keeps the "
            "models of later trials)."
        )


def _find_best(spec: StudySpec, finished: Sequence[StorageEntry]) -> set[str]:
    """Return the ids of the best trials on validation rows: of each arm, or of a whole search.

    If a search has a second objective, these are all best trade-offs. Trials whose metric is not defined are only kept
    if no other trial of the arm has it.
    """
    trials = read_search_trials(finished)
    if trials and not math.isnan(trials[0].second):
        metric = next(filter(None, (spec.compared_metric(_validation_metrics(entry)) for entry in finished)))
        return {each.trial.id for each in best_first(trials, higher_is_better=higher_is_better(metric))}
    best: dict[str, tuple[float, StorageEntry]] = {}
    for entry in finished:
        arm = "" if spec.search else entry.trial.arm_key
        score = _score(spec, entry)
        if arm not in best or score > best[arm][0]:
            best[arm] = score, entry
    return {entry.trial.id for _, entry in best.values()}


def _score(spec: StudySpec, entry: StorageEntry) -> float:
    """Return the compared metric of a trial on validation rows, negative if lower values are better."""
    metrics = _validation_metrics(entry)
    metric = spec.compared_metric(metrics)
    value = None if metric is None else metrics.get(metric)
    if metric is None or value is None or math.isnan(value):
        return -math.inf
    return value if higher_is_better(metric) else -value


def _validation_metrics(entry: StorageEntry) -> Mapping[str, float | None]:
    metrics: Mapping[str, float | None] = entry.attributes.get("metrics", {}).get("validation", {})
    return metrics


def _paths_that_trials_start_from(entries: Iterable[StorageEntry]) -> list[Path]:
    """Return the runs and models that the settings `fork` and `init_from` of trials name."""
    names = [entry.trial.settings.get(name) for entry in entries for name in ("fork", "init_from")]
    paths = {text for name in names if name for text in (name, name.rpartition("@")[0])} - {""}
    return [expand_path(path).resolve() for path in paths]


def _remove_folders(directory: Path, names: Sequence[str], note: str | None = None) -> None:
    """Remove folders of a finished run, and leave a note about its model.

    Args:
        directory: the run directory.
        names: names of the folders.
        note: the note; None for none.
    Raises:
        OSError: if a folder cannot be removed.
        ValueError: if another process uses the directory, or the note cannot be written.
    """
    folders = [directory / name for name in names if (directory / name).is_dir()]
    leftovers = [directory / f".{name}.removing" for name in names]  # of a process that was killed
    if not folders and not any(path.exists() for path in leftovers):
        return
    lock = DirectoryLock()
    lock.acquire(directory)
    try:
        result = read_result(directory)
        if result is None or result["status"] != "finished":
            return
        for path in leftovers:
            durable.remove(path)
        if note is not None:
            durable.write_text(directory / MODEL_REMOVED, note)
        for folder in folders:
            if folder.is_dir():  # unless another process was faster
                durable.rename_and_remove(folder)
    finally:
        lock.release()

"""Predictions of a study's trials for single rows, by arm and seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from research.records.predictions_file import predictions_path
from research.settings.config import RunConfig
from research.settings.declarations import Stage
from research.settings.flags import names_where
from research.settings.plugins import import_plugins
from research.studies.outcomes import Outcome, StudyOutcomes, describe_unlabelled
from research.studies.statistics.predictions import AlignedPredictions, read_predictions
from research.system.errors import one_line
from research.tasks.base import TASKS, Task
from research.tasks.guess import recognise_task

Array = NDArray[Any]


@dataclass(frozen=True)
class StudyRows:
    """The rows of a split with the predictions of all trained models."""

    split: str
    """Name of the split, validation or test."""
    predictions: AlignedPredictions
    """Predictions of all models, in ascending order of the row ids."""
    model_indices: Mapping[str, Mapping[int, int]]
    """Index of each model in the predictions, by arm and seed; the arms are in the order of the grid."""
    task: Task
    """The task."""
    skipped_trials: Sequence[str]
    """Finished trials whose predictions are not on this machine or cannot be read, each with the reason."""

    @property
    def correctness_by_arm(self) -> dict[str, dict[int, Array]]:
        """Return by arm and seed the correctness of each row (see `Task.correctness`), each [num_rows]."""
        correctness = self.task.correctness(self.predictions.labels, self.predictions.predicted)
        return {
            arm: {seed: correctness[index] for seed, index in seeds.items()}
            for arm, seeds in self.model_indices.items()
        }


def read_rows(study: StudyOutcomes, split: str) -> StudyRows:
    """Read the rows of a split with the predictions of all finished trials.

    Raises:
        ValueError: if there are no predictions on this machine, if the rows have no labels, or if the trials did not
            predict the same rows with the same labels, as in a study with folds.
    """
    if study.num_folds is not None:
        raise ValueError("with folds, the trials have different rows")
    if study.is_unlabelled(split):
        raise ValueError(describe_unlabelled(split))
    _check_same_data(study)
    readable: list[tuple[Outcome, tuple[str, ...]]] = []
    skipped = []
    for outcome in study.finished:
        try:
            readable.append((outcome, _label_names(outcome, split)))
        except FileNotFoundError:
            skipped.append(f"{outcome.trial.id}: not on this machine")
        except (OSError, pa.ArrowException) as error:
            skipped.append(f"{outcome.trial.id}: cannot be read ({one_line(error)})")
    if not readable:
        raise ValueError(f"this machine has no predictions for {split} rows")
    if len({names for _, names in readable}) > 1:
        raise ValueError("the trials predict different labels")
    try:
        predictions = read_predictions([predictions_path(outcome.directory, split) for outcome, _ in readable])
    except ValueError as error:
        raise ValueError(f"the trials predicted different {split} rows ({one_line(error)})") from None
    indices: dict[str, dict[int, int]] = {arm: {} for arm in study.arms}
    for index, (outcome, _) in enumerate(readable):
        indices[outcome.trial.arm][outcome.trial.seed] = index
    outcome, names = readable[0]
    task = find_task(outcome.trial.config(), predictions.labels)(names)
    return StudyRows(split, predictions, {arm: seeds for arm, seeds in indices.items() if seeds}, task, skipped)


def find_task(config: RunConfig, labels: Array) -> type[Task]:
    """Return the task of a run: the one in its settings, otherwise the built-in task that its labels fit.

    Args:
        config: settings of the run.
        labels: labels in its predictions.
    """
    if config.task is None:
        return recognise_task(labels)
    if config.task not in TASKS:
        import_plugins(config.plugin)
    return TASKS[config.task]


def _check_same_data(study: StudyOutcomes) -> None:
    """Check that all trials read their rows from the same data, so that equal row numbers mean equal rows.

    Raises:
        ValueError: if trials read different data; the message names the setting that differs.
    """
    configs = [outcome.trial.config() for outcome in study.finished]
    for name in names_where(lambda declared: declared.affects(Stage.ROW_NUMBERS)):
        values = sorted({str(getattr(config, name)) for config in configs})
        if len(values) > 1:
            raise ValueError(f"the trials read different data ({name}: {', '.join(values)})")


def _label_names(outcome: Outcome, split: str) -> tuple[str, ...]:
    # The predictions have a column `score_<label>` for each label.
    names = pq.read_schema(predictions_path(outcome.directory, split)).names
    return tuple(name.removeprefix("score_") for name in names if name.startswith("score_"))

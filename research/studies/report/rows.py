"""The rows that the trials of a study predicted, arm by arm and seed by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from research.records.results import predictions_path
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
    """A split's rows, and what each trained model says of them."""

    split: str
    """validation or test."""
    predictions: AlignedPredictions
    """Of all models; rows ascend by id."""
    places: Mapping[str, Mapping[int, int]]
    """Where in the predictions a model is, by arm and seed; arms in the order of the grid."""
    task: Task
    """The labels."""
    left_out: Sequence[str]
    """Finished trials whose predictions are not here or cannot be read, each with the reason."""

    @property
    def scores(self) -> dict[str, dict[int, Array]]:
        """Return by arm and seed how right each row is (see `Task.correctness`), each [num_rows]."""
        scores = self.task.correctness(self.predictions.labels, self.predictions.predicted)
        return {arm: {seed: scores[index] for seed, index in seeds.items()} for arm, seeds in self.places.items()}


def read_rows(study: StudyOutcomes, split: str) -> StudyRows:
    """Return the rows of a split.

    Raises:
        ValueError: if there are none here, they have no labels, or the trials did not predict the same rows with the
            same labels.
    """
    if study.is_unlabelled(split):
        raise ValueError(describe_unlabelled(split))
    _check_source(study)
    found: list[tuple[Outcome, tuple[str, ...]]] = []
    left_out = []
    for outcome in study.finished:
        try:
            found.append((outcome, _label_names(outcome, split)))
        except FileNotFoundError:
            left_out.append(f"{outcome.trial.id}: not on this machine")
        except (OSError, pa.ArrowException) as error:
            left_out.append(f"{outcome.trial.id}: cannot be read ({one_line(error)})")
    if not found:
        raise ValueError(f"there are no predictions for {split} rows on this machine")
    if len({names for _, names in found}) > 1:
        raise ValueError("the trials predict different labels")
    try:
        predictions = read_predictions([predictions_path(outcome.directory, split) for outcome, _ in found])
    except ValueError as error:
        raise ValueError(f"the trials predicted different {split} rows ({one_line(error)})") from None
    places: dict[str, dict[int, int]] = {arm: {} for arm in study.arms}
    for index, (outcome, _) in enumerate(found):
        places[outcome.trial.arm][outcome.trial.seed] = index
    outcome, names = found[0]
    task = find_kind(outcome.trial.config(), predictions.labels)(names)
    return StudyRows(split, predictions, {arm: seeds for arm, seeds in places.items() if seeds}, task, left_out)


def find_kind(config: RunConfig, labels: Array) -> type[Task]:
    """Return the kind of labels that a run was told; if it was told none, the built-in kind that its labels look like.

    Args:
        config: the run's settings.
        labels: in its predictions.
    """
    if config.task is None:
        return recognise_task(labels)
    if config.task not in TASKS:
        import_plugins(config.plugin)
    return TASKS[config.task]


def _check_source(study: StudyOutcomes) -> None:
    """Refuse rows that have nothing in common but their numbers.

    Raises:
        ValueError: naming the setting.
    """
    configs = [outcome.trial.config() for outcome in study.finished]
    for name in names_where(lambda declared: declared.affects(Stage.ROW_NUMBERS)):
        values = sorted({str(getattr(config, name)) for config in configs})
        if len(values) > 1:
            raise ValueError(f"the trials read different data ({name}: {', '.join(values)})")


def _label_names(outcome: Outcome, split: str) -> tuple[str, ...]:
    names = pq.read_schema(predictions_path(outcome.directory, split)).names
    return tuple(name.removeprefix("score_") for name in names if name.startswith("score_"))

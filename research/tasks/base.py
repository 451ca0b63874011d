"""Base class of tasks: the labels of a data set, and everything that depends on the task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from heads.registry import Registry
from research.tasks.calibration import Reliability
from research.tasks.label_counts import LabelCounts
from research.tasks.label_forms import LabelForms
from research.tasks.metric import Metric
from research.tasks.thresholds import Criterion, Thresholds

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.floating[Any]]
Array = NDArray[Any]


@dataclass(frozen=True)
class OneVersusRest:
    """One label versus the rest, the input of a precision-recall curve."""

    name: str
    """Name of the label."""
    has_label: NDArray[np.bool_]
    """Mask of the rows with the label, [num_rows]."""
    probabilities: Floats
    """Predicted probability of the label, [num_rows]."""


@dataclass(frozen=True)
class Task(ABC):
    """A task, with the labels of one data set.

    Each task is a subclass in a file of its own, registered with `@register_task`. An instance holds the labels of a
    data set. A subclass adds no fields, and sets the class variables that have no default here. All other code uses
    only the interface defined here, and never checks which task it is given.

    In all methods, `logits` are the model's outputs, [num_rows, num_labels]; `labels` are returned by `label_array`,
    and `predicted` by `predicted_labels`. `labels` and `predicted` have the same shape, which depends on the task:
    [num_rows] or [num_rows, num_labels].
    """

    label_names: tuple[str, ...]
    """One name per output; for regression, the name of the label column."""
    label_counts: tuple[int, ...] = ()
    """Number of training rows with each label; empty for regression."""
    num_train: int = 0
    """Number of training rows. With --streaming, this, the counts and the statistics are those of `counted_split`."""
    score_mean: float = 0.0
    """Mean score of the training rows. The labels of a regression task are called scores."""
    score_std: float = 1.0
    """Standard deviation of the training rows' scores (regression)."""
    unseen_labels: tuple[str, ...] = ()
    """Labels that occur in validation or test rows but in no training row, numbered after `label_names`. The model has
    no output for them, so their rows count as wrong. Always empty for multi-label tasks and regression."""
    thresholds: tuple[float, ...] = ()
    """Probability above which each label is predicted (multi-label tasks); empty if it is 0.5 for every label."""
    counted_split: str = "train"
    """The split whose rows `label_counts`, `num_train`, `score_mean` and `score_std` describe: validation if the
    training rows are streamed."""

    name: ClassVar[str]
    """Registered name; set by `register_task`."""
    transformers_name: ClassVar[str]
    """`problem_type` in the config of saved models: one of the three that Transformers supports."""

    default_objective: ClassVar[str]
    """Name of the default objective."""
    more_objectives: ClassVar[tuple[str, ...]] = ()
    """Objectives that also fit this task, although they do not list it in their `tasks`."""

    metrics: ClassVar[tuple[Metric, ...]]
    """Metrics returned by `compute_metrics`, in this order. By default, a study compares arms by the first one."""
    label_metric: ClassVar[Metric | None] = None
    """Metric that `compute_metrics` also returns for each label; the label's name is appended to the metric's name."""

    labels_are_numbers: ClassVar[bool] = False
    """Whether labels are numbers, predicted by a single output; otherwise, labels are names."""
    several_per_row: ClassVar[bool] = False
    """Whether a row may have any number of labels; otherwise, it has exactly one."""
    fewest_labels: ClassVar[int] = 2
    """Minimum number of distinct labels in the training rows."""
    has_confusion_matrix: ClassVar[bool] = False
    """Whether predictions can be shown in a confusion matrix, which needs one true and one predicted label per row."""
    has_temperature: ClassVar[bool] = False
    """Whether a temperature can calibrate the probabilities of the labels; if so, the task defines
    `fit_temperature`."""
    has_thresholds: ClassVar[bool] = False
    """Whether each label is predicted above a threshold; if so, the task defines `fit_thresholds`."""

    correctness_is_distance: ClassVar[bool] = False
    """Whether `correctness` is a distance (lower is better); otherwise, rows are right or wrong."""
    correctness_title: ClassVar[str]
    """Description of the mean of `correctness` in reports of studies."""
    label_quality_title: ClassVar[str] = ""
    """Description of `label_quality` in reports of studies."""
    mistakes_title: ClassVar[str] = "Most confident mistakes"
    """Heading of the rows with the largest `mistake_severity` in reports of runs."""
    mistakes_name: ClassVar[str] = "mistakes"
    """Plural noun for the rows with a positive `mistake_severity` in sentences of the report."""
    severity_title: ClassVar[str] = "probability"
    """Name of the quantity that `mistake_severity` returns."""

    @property
    def num_labels(self) -> int:
        """Number of outputs of the head."""
        return len(self.label_names)

    @property
    def metric_names(self) -> list[str]:
        """Names of all metrics, without the loss."""
        names = [metric.name for metric in self.metrics]
        if self.label_metric is not None:
            names += [f"{self.label_metric.name}{name}" for name in self.label_names]
        return names

    # Labels in files

    @classmethod
    @abstractmethod
    def check_forms(cls, forms: LabelForms, column: str) -> None:
        """Check that the task fits labels that are written in this way.

        Args:
            forms: how the labels are written.
            column: name of the label column.
        Raises:
            ValueError: if it does not; the message says what is expected and what the column contains.
        """

    @classmethod
    def other_interpretations(cls, forms: LabelForms, counts: Mapping[str, int], column: str) -> list[str]:
        """Return a warning for each other plausible interpretation of labels for which this task was guessed.

        Args:
            forms: how the labels are written.
            counts: number of training rows per label name or, for numbers, per value. If there are many
                different numbers, only some of them are counted.
            column: name of the label column.
        """
        return []

    @classmethod
    def _check_one_value(cls, forms: LabelForms, column: str) -> None:
        """Check that each row has one value, or a 0 or 1 for each label. For the arguments, see `check_forms`."""
        if forms.has_lists and forms.indicator_length is None and not forms.has_one_value_per_row:
            raise ValueError(
                f"The task {cls.name} needs one value per row; column '{column}' holds lists of several values, which "
                "the task multi_label expects."
            )

    # Labels in prepared data and batches

    @classmethod
    @abstractmethod
    def column_type(cls) -> pa.DataType:
        """Return the type of the label column in prepared data: label codes, lists of label codes, or numbers."""

    @abstractmethod
    def label_array(self, values: Sequence[Any]) -> Array:
        """Return the labels of rows in the form that the objective expects.

        Args:
            values: values of the label column of prepared data.
        Returns:
            `labels`, with the dtype of the label tensor of a batch.
        """

    @abstractmethod
    def missing_labels(self, num_rows: int) -> Array:
        """Return placeholder labels for rows without labels, with the shape and dtype of `label_array`."""

    # Predictions

    @abstractmethod
    def probabilities(self, logits: Floats) -> Floats:
        """Return a float64 number per output, [num_rows, num_labels]: a probability, or the predicted score."""

    @abstractmethod
    def predicted_labels(self, logits: Floats) -> Array:
        """Return the predictions, as integers or floats."""

    @abstractmethod
    def compute_metrics(self, logits: Floats, labels: Array) -> dict[str, float]:
        """Return the values of `metric_names`; NaN for metrics that are undefined on these rows."""

    # Calibration

    def fit_temperature(self, logits: Floats, labels: Array) -> float:
        """Return the temperature that gives these labels the highest likelihood."""
        raise NotImplementedError

    def logits_from(self, probabilities: Floats) -> Floats:
        """Return logits for which `probabilities` returns these numbers, [num_rows, num_labels] float64.

        Probabilities that were rounded to 0 or 1 give the most extreme finite logits. By default, the numbers are the
        logits.
        """
        return probabilities

    def fit_thresholds(self, logits: Floats, labels: Array, criterion: Criterion) -> Thresholds:
        """Return the best threshold of each label."""
        raise NotImplementedError

    def reliability(self, logits: Floats, labels: Array) -> Reliability | None:
        """Return the predictions grouped by their probability; None if the outputs are not probabilities."""
        return None

    # Output for reports

    @abstractmethod
    def label_name_column(self, labels: Array) -> pa.Array | None:
        """Return label names for a file of predictions, [num_rows]; None if labels have no names."""

    @abstractmethod
    def describe_label(self, label: Any) -> str:
        """Return one row of `labels` or `predicted` as text for a report."""

    @abstractmethod
    def mistake_severity(self, labels: Array, predicted: Array, logits: Floats) -> Array:
        """Return the confidence in the wrong label (0 if correct), or the distance to the label, [num_rows]."""

    @classmethod
    @abstractmethod
    def correctness(cls, labels: Array, predicted: Array) -> Array:
        """Return whether each row is right, or its distance to the label.

        Args:
            labels: labels of the rows.
            predicted: predictions of one model, in the shape of `labels`, or of several: [num_models, *shape].
        Returns:
            [num_rows], or [num_models, num_rows].
        """

    @classmethod
    @abstractmethod
    def describe_correctness(cls, mean: float, num_models: int) -> str:
        """Return the mean `correctness` of several models on one row as text for a report."""

    def count_labels(self, labels: Array, predicted: Array) -> LabelCounts | None:
        """Return how many rows have each label, and how many are predicted to have it; None if labels have no names."""
        return None

    def label_quality(self, labels: Array, predicted: Array) -> Floats:
        """Return the quality of predictions per label, from 0 to 1, [num_labels]; NaN for labels without rows."""
        return np.full(self.num_labels, np.nan)

    def one_versus_rest(self, labels: Array, logits: Floats, max_labels: int) -> tuple[list[OneVersusRest], int] | None:
        """Return the most frequent labels, each versus the rest; None if there are no label probabilities.

        Args:
            labels: labels of the rows.
            logits: logits of the rows.
            max_labels: maximum number of labels to return.
        Returns:
            The labels, most frequent first, and the number of labels that occur.
        """
        return None


TASKS: Registry[type[Task]] = Registry("task", Task, built_in="research.tasks")
TaskClass = TypeVar("TaskClass", bound=type[Task])


def register_task(name: str) -> Callable[[TaskClass], TaskClass]:
    """Return a decorator that registers a task under `name`, and sets the class variable `name`.

    Raises:
        ValueError: see `Registry.register`.
    """
    register = TASKS.register(name)

    def decorate(task: TaskClass) -> TaskClass:
        registered = register(task)
        registered.name = name
        return registered

    return decorate

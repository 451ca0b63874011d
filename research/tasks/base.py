"""What is to be predicted: the labels of a data set, and all that depends on their kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from heads.registry import Registry
from research.tasks.label_counts import LabelCounts
from research.tasks.label_forms import LabelForms
from research.tasks.metric import Metric

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.floating[Any]]
Array = NDArray[Any]


@dataclass(frozen=True)
class LabelAgainstRest:
    """One label against all others: what a precision-recall curve is drawn from."""

    name: str
    """The label."""
    applies: NDArray[np.bool_]
    """Which rows have it, [num_rows]."""
    scores: Floats
    """Its probability, [num_rows]."""


@dataclass(frozen=True)
class Task(ABC):
    """The labels of a data set.

    Each kind of labels is a subclass in a file of its own under `@register_task`. It adds no fields, and sets the class
    variables that have no default here. Everything else works with what is declared here and does not ask for the kind.

    In all methods `logits` are what the model gives, [num_rows, num_labels]. `labels` are what `label_array` returns,
    and `predicted` is what `predicted_labels` returns. Both have the shape of the kind: [num_rows] or
    [num_rows, num_labels].
    """

    label_names: tuple[str, ...]
    """One name per output; of numbers the name of their column."""
    label_counts: tuple[int, ...] = ()
    """Training rows per label; none for numbers."""
    num_train: int = 0
    """Training rows."""
    score_mean: float = 0.0
    """Mean of the training rows' numbers."""
    score_std: float = 1.0
    """Standard deviation of the training rows' numbers."""
    unseen_labels: tuple[str, ...] = ()
    """Labels of validation or test rows that no training row has, numbered after `label_names`; the model has no output
    for them, so that their rows count as wrong. None where a row may have several labels, or has a number."""

    problem_type: ClassVar[str]
    """The registered name, which `register_task` sets."""
    transformers_name: ClassVar[str]
    """What saved models hold as `problem_type`: one of the three that Transformers knows."""

    default_objective: ClassVar[str]
    """Name of the objective if none is chosen."""
    more_objectives: ClassVar[tuple[str, ...]] = ()
    """Names of objectives that fit, beside those that declare this kind in their `problem_types`."""

    metrics: ClassVar[tuple[Metric, ...]]
    """What `compute_metrics` returns, in this order. A study compares the first by default."""
    label_metric: ClassVar[Metric | None] = None
    """Metric that `compute_metrics` returns for each label too; its name is followed by the label's."""

    labels_are_numbers: ClassVar[bool] = False
    """Whether a row has a number, which is predicted by one output; otherwise labels are names."""
    several_per_row: ClassVar[bool] = False
    """Whether a row may have any number of labels; otherwise it has one."""
    fewest_labels: ClassVar[int] = 2
    """Labels that the training rows must have, so that there is something to tell apart."""
    has_confusion_matrix: ClassVar[bool] = False
    """Whether a row has one label, and another one is predicted in its place."""

    correctness_is_distance: ClassVar[bool] = False
    """Whether `correctness` is a distance, of which less is better; otherwise rows are right or wrong."""
    correctness_title: ClassVar[str]
    """What the mean of `correctness` is, in reports of studies."""
    label_quality_title: ClassVar[str] = ""
    """What `label_quality` is, in reports of studies."""
    mistakes_title: ClassVar[str] = "Most confident mistakes"
    """Heading of the rows with the largest `mistake_severity`, in reports of runs."""
    mistakes_name: ClassVar[str] = "mistakes"
    """What these rows are called."""
    severity_title: ClassVar[str] = "probability"
    """What `mistake_severity` is."""

    @property
    def num_labels(self) -> int:
        """Outputs of the head."""
        return len(self.label_names)

    @property
    def metric_names(self) -> list[str]:
        """Names of all metrics, without the loss."""
        names = [metric.name for metric in self.metrics]
        if self.label_metric is not None:
            names += [f"{self.label_metric.name}{name}" for name in self.label_names]
        return names

    # Labels as files have them

    @classmethod
    @abstractmethod
    def check_forms(cls, forms: LabelForms, column: str) -> None:
        """Refuse labels that cannot be of this kind.

        Args:
            forms: what the labels look like.
            column: name of the label column.
        Raises:
            ValueError: saying what is expected, and what the column holds.
        """

    @classmethod
    def second_readings(cls, forms: LabelForms, counts: Mapping[str, int], column: str) -> list[str]:
        """Return a warning for each other way to read labels that were guessed to be of this kind.

        Args:
            forms: what the labels look like.
            counts: training rows per label name; of numbers, per value, as far as they were counted.
            column: name of the label column.
        """
        return []

    @classmethod
    def _check_one_value(cls, forms: LabelForms, column: str) -> None:
        if forms.in_lists and forms.indicator_length is None and not forms.has_single_values:
            raise ValueError(
                f"task={cls.problem_type} needs one value per row; column '{column}' holds lists of several. Set "
                "task=multi_label."
            )

    # Labels as prepared data and batches have them

    @classmethod
    @abstractmethod
    def column_type(cls) -> pa.DataType:
        """Return the type of the label column in prepared data: numbers of labels, lists of them, or numbers."""

    @abstractmethod
    def label_array(self, values: Sequence[Any]) -> Array:
        """Return the labels of some rows as the objective takes them.

        Args:
            values: the rows' values in the label column of prepared data.
        Returns:
            `labels`; the dtype is that of the tensor in a batch.
        """

    @abstractmethod
    def missing_labels(self, num_rows: int) -> Array:
        """Return what stands for the labels of rows that have none, in the shape and dtype of `label_array`."""

    # Predictions

    @abstractmethod
    def probabilities(self, logits: Floats) -> Floats:
        """Return a score for each output in float64, [num_rows, num_labels]: a probability, or the predicted number."""

    @abstractmethod
    def predicted_labels(self, logits: Floats) -> Array:
        """Return what is predicted, as whole numbers or floats."""

    @abstractmethod
    def compute_metrics(self, logits: Floats, labels: Array) -> dict[str, float]:
        """Return the values of `metric_names`; one that is not defined on these rows is NaN."""

    # What reports show

    @abstractmethod
    def name_column(self, labels: Array) -> pa.Array | None:
        """Return the names of labels for a file of predictions, [num_rows]; None if labels have no names."""

    @abstractmethod
    def describe_label(self, label: Any) -> str:
        """Return one row of `labels` or `predicted` as a reader sees it."""

    @abstractmethod
    def mistake_severity(self, labels: Array, predicted: Array, logits: Floats) -> Array:
        """Return the confidence in what is wrong in each row (0 if nothing is), or the distance, [num_rows]."""

    @classmethod
    @abstractmethod
    def correctness(cls, labels: Array, predicted: Array) -> Array:
        """Return whether each row is right, or the distance to its label.

        Args:
            labels: of the rows.
            predicted: of the same shape, or of several models: [num_models, *shape].
        Returns:
            [num_rows], or [num_models, num_rows].
        """

    @classmethod
    @abstractmethod
    def describe_correctness(cls, mean: float, num_models: int) -> str:
        """Return the mean of several models' `correctness` in one row, as a reader sees it."""

    def count_labels(self, labels: Array, predicted: Array) -> LabelCounts | None:
        """Return in how many rows each label is present, predicted and right; None if labels have no names."""
        return None

    def label_quality(self, labels: Array, predicted: Array) -> Floats:
        """Return how well each label is predicted, from 0 to 1, [num_labels]; NaN without rows, or without names."""
        return np.full(self.num_labels, np.nan)

    def against_rest(self, labels: Array, logits: Floats, most: int) -> tuple[list[LabelAgainstRest], int] | None:
        """Return the most frequent labels, each against all others; None if labels have no probabilities.

        Args:
            labels: of the rows.
            logits: of the rows.
            most: labels returned, at most.
        Returns:
            These labels, the most frequent first, and the number of labels that occur.
        """
        return None


TASKS: Registry[type[Task]] = Registry("task", Task, built_in="research.tasks")
TaskClass = TypeVar("TaskClass", bound=type[Task])


def register_task(name: str) -> Callable[[TaskClass], TaskClass]:
    """Return a decorator that registers a kind of labels under `name`, which becomes its `problem_type`.

    Raises:
        ValueError: as `Registry.register`.
    """
    register = TASKS.register(name)

    def decorate(kind: TaskClass) -> TaskClass:
        registered = register(kind)
        registered.problem_type = name
        return registered

    return decorate

"""Interface of every task, tested on a few rows. EXAMPLES has one example per task; add new tasks there."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from heads.registry import UnknownNameError
from research.learning.objectives import OBJECTIVES
from research.tasks.base import TASKS, Task, register_task
from research.tasks.label_forms import LabelForms
from research.tasks.metric_names import check_metric, check_metric_name, find_metric
from research.tasks.multi_label import MultiLabel
from research.tasks.regression import Regression
from research.tasks.single_label import NO_LABEL, SingleLabel
from tests.shipped import shipped_names

TRANSFORMERS_NAMES = {"single_label_classification", "multi_label_classification", "regression"}


@dataclass(frozen=True)
class Example:
    """Three rows, and the expected results of the methods of a task."""

    task: Task
    stored: list[Any]
    """Values of the rows in the label column of prepared data."""
    column_type: pa.DataType
    labels: np.ndarray
    missing: np.ndarray
    """Placeholder for one missing label."""
    logits: np.ndarray
    probabilities: np.ndarray
    predicted: np.ndarray
    metrics: dict[str, float]
    """Expected values of some of the metrics."""
    names: list[Any] | None
    """Label names of the rows in a file of predictions."""
    descriptions: list[str]
    """Labels of the rows as users see them in reports."""
    mistake_severity: list[float]
    correctness: list[Any]
    mean_correctness: str
    """Description of a mean correctness of 0.5 for two models on one row."""
    counts: list[list[int]] | None
    """The fields `correct`, `predicted` and `present` of LabelCounts, with one number per label."""
    label_quality: list[float]
    """Quality of the predictions per label, NaN for labels without rows."""
    one_versus_rest: tuple[list[tuple[str, list[bool], list[float]]], int] | None
    """The most frequent label (name, which rows have it, probabilities), and the number of labels that occur."""
    accepted_forms: list[list[tuple[str, str]]]
    """Columns of labels that the task accepts: the values in each row, with the names of their types."""
    rejected_forms: list[list[tuple[str, str]]]
    """Columns of labels that the task rejects."""


PROBABILITIES = np.array([[0.8, 0.1, 0.1], [0.25, 0.5, 0.25], [0.6, 0.2, 0.2]])
# The odds 3 to 1 are a probability of 0.75, and so on.
MULTI_LABEL_LOGITS = np.log([[3.0, 1 / 4], [4.0, 1.5], [1 / 4, 1 / 9]])
MULTI_LABEL_PROBABILITIES = np.array([[0.75, 0.2], [0.8, 0.6], [0.2, 0.1]])
EXAMPLES = {
    "single_label": Example(
        task=SingleLabel(("a", "b", "c"), label_counts=(2, 1, 1), num_train=4),
        stored=[0, 0, 2],
        column_type=pa.int64(),
        labels=np.array([0, 0, 2]),
        missing=np.array([NO_LABEL]),
        logits=np.log(PROBABILITIES),
        probabilities=PROBABILITIES,
        predicted=np.array([0, 1, 0]),
        metrics={"accuracy": 1 / 3, "f1_macro": (1 / 2 + 0 + 0) / 3, "log_loss": -np.log([0.8, 0.25, 0.2]).mean()},
        names=["a", "a", "c"],
        descriptions=["a", "a", "c"],
        mistake_severity=[0, 0.5, 0.6],
        correctness=[True, False, False],
        mean_correctness="1 of 2 right",
        counts=[[1, 0, 0], [2, 1, 0], [2, 0, 1]],
        label_quality=[1 / 2, np.nan, 0],
        one_versus_rest=([("a", [True, True, False], [0.8, 0.25, 0.6])], 2),
        accepted_forms=[[("a", "str")], [("3", "int")]],
        rejected_forms=[[("a", "str"), ("b", "str")]],
    ),
    "multi_label": Example(
        task=MultiLabel(("a", "b"), label_counts=(2, 1), num_train=4),
        stored=[[0], [0], []],
        column_type=pa.list_(pa.int64()),
        labels=np.array([[1, 0], [1, 0], [0, 0]], dtype=np.float32),
        missing=np.full((1, 2), np.nan, dtype=np.float32),
        logits=MULTI_LABEL_LOGITS,
        probabilities=MULTI_LABEL_PROBABILITIES,
        predicted=np.array([[1, 0], [1, 1], [0, 0]], dtype=np.int8),
        metrics={"subset_accuracy": 2 / 3, "f1_micro": 4 / 5, "f1/a": 1, "f1/b": 0},
        names=[["a"], ["a"], []],
        descriptions=["a", "a", "none"],
        mistake_severity=[0, 0.6, 0],
        correctness=[True, False, True],
        mean_correctness="1 of 2 right",
        counts=[[2, 0], [2, 1], [2, 0]],
        label_quality=[1, 0],
        one_versus_rest=([("a", [True, True, False], [0.75, 0.8, 0.2])], 1),
        accepted_forms=[[("a", "str"), ("b", "str")]],
        rejected_forms=[],
    ),
    "regression": Example(
        task=Regression(("score",), num_train=4, score_mean=2.0, score_std=1.0),
        stored=[1.0, 2.0, 4.0],
        column_type=pa.float64(),
        labels=np.array([1, 2, 4], dtype=np.float32),
        missing=np.array([np.nan], dtype=np.float32),
        logits=np.array([[1.0], [2.5], [1.0]]),
        probabilities=np.array([[1.0], [2.5], [1.0]]),
        predicted=np.array([1.0, 2.5, 1.0]),
        metrics={"mse": (0.25 + 9) / 3, "pearson": np.corrcoef([1, 2.5, 1], [1, 2, 4])[0, 1]},
        names=None,
        descriptions=["1", "2", "4"],
        mistake_severity=[0, 0.5, 3],
        correctness=[0, 0.5, 3],
        mean_correctness="off by 0.5",
        counts=None,
        label_quality=[np.nan],
        one_versus_rest=None,
        accepted_forms=[[("1.5", "float")], [("3", "int")]],
        rejected_forms=[[("a", "str")], [("1.5", "float"), ("2.5", "float")]],
    ),
}


@pytest.fixture(params=shipped_names(TASKS))
def example(request: pytest.FixtureRequest) -> Example:
    return EXAMPLES[request.param]


def test_class_variables_of_a_task_are_consistent(example: Example) -> None:
    task = example.task
    assert type(task) is TASKS[task.name]
    assert task.transformers_name in TRANSFORMERS_NAMES
    assert OBJECTIVES[task.default_objective].fits(task)
    assert all(OBJECTIVES[name].fits(task) for name in task.more_objectives)
    assert dataclasses.fields(task) == dataclasses.fields(Task)
    titles = (task.correctness_title, task.mistakes_title, task.mistakes_name, task.severity_title)
    assert all(titles)
    assert bool(task.label_quality_title) == (not task.labels_are_numbers)
    assert not (task.several_per_row and (task.labels_are_numbers or task.has_confusion_matrix))


def test_label_array_converts_labels_of_prepared_data(example: Example) -> None:
    task = example.task
    column = pa.array(example.stored, task.column_type())
    assert column.type == example.column_type
    for values, expected in ((column.to_pylist(), example.labels), ([], example.labels[:0])):
        labels = task.label_array(values)
        np.testing.assert_array_equal(labels, expected, strict=True)
    np.testing.assert_array_equal(task.missing_labels(1), example.missing, strict=True)
    assert task.missing_labels(1).dtype == example.labels.dtype


def test_probabilities_and_predicted_labels_match_the_example(example: Example) -> None:
    logits = example.logits.copy()
    np.testing.assert_allclose(example.task.probabilities(logits), example.probabilities)
    np.testing.assert_array_equal(example.task.predicted_labels(logits), example.predicted, strict=True)
    np.testing.assert_array_equal(logits, example.logits)
    assert example.task.probabilities(logits.astype(np.float32)).dtype == np.float64
    assert example.predicted.shape == example.labels.shape


def test_computed_metrics_match_their_declarations(example: Example) -> None:
    task = example.task
    metrics = task.compute_metrics(example.logits, example.labels)
    assert list(metrics) == task.metric_names
    assert {name: metrics[name] for name in example.metrics} == pytest.approx(example.metrics)
    for name, value in metrics.items():
        metric = find_metric(name)
        assert metric is not None
        assert metric in (*task.metrics, task.label_metric), "another task has a different metric of this name"
        low, high = metric.bounds
        assert low <= value <= high
        check_metric(name, task)
        check_metric_name(name, task.name)
    for name in ("loss", task.metrics[0].name):
        check_metric(name, task)
    with pytest.raises(UnknownNameError):
        check_metric("no_metric", task)


def test_label_names_and_descriptions_match_the_example(example: Example) -> None:
    column = example.task.label_name_column(example.labels)
    assert (None if column is None else column.to_pylist()) == example.names
    empty_column = example.task.label_name_column(example.labels[:0])
    assert (empty_column is None) == (column is None)
    assert column is None or empty_column is None or column.type == empty_column.type
    assert [example.task.describe_label(label) for label in example.labels] == example.descriptions


def test_correctness_and_mistake_severity_match_the_example(example: Example) -> None:
    task = example.task
    severity = task.mistake_severity(example.labels, example.predicted, example.logits)
    np.testing.assert_allclose(severity, example.mistake_severity)
    correctness = task.correctness(example.labels, example.predicted)
    np.testing.assert_array_equal(correctness, np.array(example.correctness))
    assert (correctness.dtype == np.bool_) == (not task.correctness_is_distance)
    correctness_of_two = task.correctness(example.labels, np.stack([example.predicted, example.labels]))
    np.testing.assert_array_equal(correctness_of_two[0], correctness)
    assert correctness_of_two.shape == (2, 3)
    assert task.describe_correctness(0.5, 2) == example.mean_correctness


def test_label_counts_and_quality_match_the_example(example: Example) -> None:
    task, labels = example.task, example.labels
    counts = task.count_labels(labels, example.predicted)
    per_label = (
        None if counts is None else [counts.correct.tolist(), counts.predicted.tolist(), counts.present.tolist()]
    )
    assert per_label == example.counts
    np.testing.assert_array_equal(task.label_quality(labels, example.predicted), example.label_quality)


def test_one_versus_rest_matches_the_example(example: Example) -> None:
    result = example.task.one_versus_rest(example.labels, example.logits, max_labels=1)
    if example.one_versus_rest is None or result is None:
        assert result is None
        assert example.one_versus_rest is None
        return
    assert result[1] == example.one_versus_rest[1]
    for label, (name, has_label, probabilities) in zip(result[0], example.one_versus_rest[0], strict=True):
        assert (label.name, label.has_label.tolist()) == (name, has_label)
        assert label.probabilities.tolist() == pytest.approx(probabilities)


NUM_ROWS = 30


def forms_of(values: list[tuple[str, str]]) -> LabelForms:
    """Return the label forms of a column with the same label in every row: one value, or a list of several."""
    forms = LabelForms()
    for _ in range(NUM_ROWS):
        forms.add(values, is_list=len(values) > 1)
    return forms


def test_check_forms_accepts_labels_of_the_task_and_rejects_labels_that_do_not_fit(example: Example) -> None:
    for values in example.accepted_forms:
        example.task.check_forms(forms_of(values), "label")
        # Any warning names the column.
        counts = {text: NUM_ROWS for text, _ in values}
        for warning in example.task.other_interpretations(forms_of(values), counts, "label"):
            assert "'label'" in warning
    for values in example.rejected_forms:
        with pytest.raises(ValueError, match="'label'"):
            example.task.check_forms(forms_of(values), "label")


def test_multi_label_rejects_single_values() -> None:
    with pytest.raises(ValueError, match="'label'"):
        MultiLabel.check_forms(forms_of([("a", "str")]), "label")


def test_regression_rejects_several_columns_of_zeros_and_ones() -> None:
    with pytest.raises(ValueError, match="'label'"):
        Regression.check_forms(LabelForms(num_columns=2), "label")


def test_register_task_rejects_classes_that_are_not_tasks() -> None:
    with pytest.raises(ValueError, match="subclass of Task"):
        register_task("no_task")(int)  # type: ignore[type-var]

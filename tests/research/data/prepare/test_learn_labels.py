"""Learn the task and the label names of a data set from its training rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from tests.messages import in_order
from tests.research.data.conftest import Loader, WriteCsv, WriteJsonl, reviews
from tests.research.data.prepare.labelled_rows import labels_by_row_number, rows_with_labels


def test_load_refuses_data_with_only_one_distinct_label(load: Loader, write_csv: WriteCsv) -> None:
    with pytest.raises(ValueError, match=r"'label' .*2 labels.*'label 0'"):
        load(write_csv(*reviews(10, num_labels=1)))


@pytest.mark.parametrize("zero_and_one", [(0, 1), (False, True), (0.0, 1.0), ("0", "1")])
def test_lists_with_exactly_one_1_are_one_hot(
    load: Loader, write_jsonl: WriteJsonl, zero_and_one: tuple[object, object]
) -> None:
    vectors = [[zero_and_one[position == label] for position in range(3)] for label in (2, 0, 1)]
    splits = load(write_jsonl(rows_with_labels(*vectors)))
    assert (splits.task.name, splits.task.label_names) == ("single_label", ("0", "1", "2"))
    assert [labels_by_row_number(splits)[row] for row in range(3)] == [2, 0, 1]
    assert load.reported("3 labels", "one-hot", "single_label")


def test_lists_of_zeros_and_ones_are_multi_hot(load: Loader, write_jsonl: WriteJsonl) -> None:
    splits = load(write_jsonl(rows_with_labels([0, 1, 1], [0, 0, 0], [1, 0, 0])))
    assert (splits.task.name, splits.task.label_names) == ("multi_label", ("0", "1", "2"))
    assert [labels_by_row_number(splits)[row] for row in range(3)] == [[1, 2], [], [0]]
    train = [code for codes in splits.train["label"] for code in codes]
    assert splits.task.label_counts == tuple(train.count(code) for code in range(3))
    assert load.reported("3 labels", "multi-hot", "multi_label")


def test_lists_of_two_indicators_are_one_hot(load: Loader, write_jsonl: WriteJsonl) -> None:
    splits = load(write_jsonl(rows_with_labels([0, 1], [1, 0])))
    assert (splits.task.name, [labels_by_row_number(splits)[row] for row in range(2)]) == ("single_label", [1, 0])


def test_one_hot_lists_can_be_read_as_multi_label(load: Loader, write_jsonl: WriteJsonl) -> None:
    splits = load(write_jsonl(rows_with_labels([0, 1], [1, 0])), task="multi_label")
    assert [labels_by_row_number(splits)[row] for row in range(2)] == [[1], [0]]


def test_lists_of_0_and_1_with_different_lengths_hold_label_names(load: Loader, write_jsonl: WriteJsonl) -> None:
    splits = load(write_jsonl(rows_with_labels([0], [1], [0, 1], [])))
    assert (splits.task.name, splits.task.label_names) == ("multi_label", ("0", "1"))
    assert [labels_by_row_number(splits)[row] for row in range(4)] == [[0], [1], [0, 1], []]


def test_indicator_columns_are_read_as_labels(load: Loader, write_csv: WriteCsv) -> None:
    lines = [f"text {row},{int(row % 3 == 0)},{int(row % 3 == 1)},{int(row % 3 == 2)}" for row in range(60)]
    path = write_csv(*lines, header="text,joy,anger,fear")
    splits = load(path, label_column="joy, anger,fear")
    assert (splits.task.name, splits.task.label_names) == ("single_label", ("joy", "anger", "fear"))
    assert [labels_by_row_number(splits)[row] for row in range(3)] == [0, 1, 2]
    path_with_two_labels = write_csv(*lines, "both 60,1,1,0", header="text,joy,anger,fear")
    splits = load(path_with_two_labels, label_column="joy,anger,fear")
    assert splits.task.name == "multi_label"
    assert labels_by_row_number(splits)[60] == [0, 1]
    with pytest.raises(ValueError, match=in_order("row 61", "'2'", "zeros and ones")):
        load(write_csv(*lines, "two,2,0,0", header="text,joy,anger,fear"), label_column="joy,anger,fear")
    with pytest.raises(ValueError, match="Unknown column 'angry'"):
        load(path, label_column="joy,angry")


def test_few_distinct_integers_stored_as_floats_are_classes(load: Loader, write_csv: WriteCsv) -> None:
    lines = [f"text {row},{float(row % 2)}" for row in range(40)]
    path = write_csv(*lines)
    splits = load(path)
    assert (splits.task.name, splits.task.label_names) == ("single_label", ("0", "1"))
    assert load.reported("Warning:", "--task regression")
    assert load(path, task="regression").task.name == "regression"
    assert not load.reported("Warning:")


def test_lists_of_label_names_are_multi_label(load: Loader, write_jsonl: WriteJsonl) -> None:
    splits = load(write_jsonl(rows_with_labels(["b", "a"], [], ["c"])))
    assert (splits.task.name, splits.task.label_names) == ("multi_label", ("a", "b", "c"))
    assert [labels_by_row_number(splits)[row] for row in range(3)] == [[1, 0], [], [2]]
    train = [code for codes in splits.train["label"] for code in codes]
    assert splits.task.label_counts == tuple(train.count(code) for code in range(3))


@pytest.mark.parametrize(
    ("labels", "task", "message"),
    [
        ((1, 2), "multi_label", "task multi_label .* lists .*--label_separator.*'label'"),
        ((["a", "c"], ["b"]), "single_label", "task single_label .*'label' holds lists.*task multi_label"),
        (("a", "b"), "regression", "task regression .*'label' holds no numbers"),
        ((["a"], "b"), None, "'label' holds lists .* single labels"),
        ((0.5, "b"), None, r"'label' .*\('b'\).*--task regression.*--task single_label"),
        (([], []), None, "'label' .*1 label .*none"),
        ((["a", "a"], ["b"]), None, "label is listed twice"),
        (([0, 0, 1], [1, 2, 0]), None, "label is listed twice"),
        (([0, 1, 0], [1, 0, 0], [1, 0]), None, "expected 3 zeros and ones, found 2"),
        (([0.2, 0.8], [0.9, 0.1]), None, "'label' .* fraction.*--task multi_label"),
        (([0, 1], [1, 0]), "regression", "task regression .*'label' holds a 0 or 1"),
        (([["a"]], ["b"]), None, "the label has the type list"),
        (([None], ["b"]), None, "missing label"),
    ],
)
def test_labels_that_do_not_fit_the_task_are_refused(
    load: Loader, write_jsonl: WriteJsonl, labels: tuple[Any, ...], task: str | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        load(write_jsonl(rows_with_labels(*labels)), task=task)


@pytest.mark.parametrize("invalid", [[2, 0], [1, -1], [1, 0, 0]])
def test_invalid_list_among_indicator_lists_is_a_bad_row(
    load: Loader, write_jsonl: WriteJsonl, invalid: list[int]
) -> None:
    rows = [
        *rows_with_labels([1, 0], [0, 1]),
        {"text": "odd", "label": invalid},
    ]  # 20 rows per valid list, and one more
    with pytest.raises(ValueError, match=in_order("1 bad row of 41: ", "row 41: ", "expected")):
        load(write_jsonl(rows))
    splits = load(write_jsonl(rows), bad_rows="skip")
    assert (splits.task.name, splits.task.label_names) == ("single_label", ("0", "1"))
    assert labels_by_row_number(splits)[0] == 0


def test_training_files_are_refused_if_only_some_declare_label_names(load: Loader, tmp_path: Path) -> None:
    declared = Dataset.from_dict(
        {"text": [f"named {row}" for row in range(20)], "label": [row % 2 for row in range(20)]},
        features=Features({"text": Value("string"), "label": ClassLabel(names=["x", "y"])}),
    )
    declared.to_parquet(tmp_path / "train-00001-of-00002.parquet")
    pq.write_table(pa.Table.from_pylist(rows_with_labels(0, 1)), tmp_path / "train-00000-of-00002.parquet")
    with pytest.raises(
        ValueError, match=in_order("train-00001-of-00002.parquet", "'label'", "train-00000-of-00002.parquet")
    ):
        load(tmp_path)


def test_lists_of_one_label_can_be_read_as_single_label(load: Loader, write_jsonl: WriteJsonl) -> None:
    path = write_jsonl(rows_with_labels(["p"], ["n"]))
    assert load(path).task.name == "multi_label"
    assert load.reported("Warning:", "'label'", "lists of one label", "--task single_label")
    splits = load(path, task="single_label")
    assert (splits.task.label_names, labels_by_row_number(splits)[0]) == (("n", "p"), 1)


def test_several_label_columns_must_hold_zeros_and_ones(load: Loader, write_csv: WriteCsv) -> None:
    lines = [f"text {row},{('yes,no', 'no,yes')[row % 2]}" for row in range(20)]
    with pytest.raises(ValueError, match=r"Columns 'a, b': 'yes', 'no' .*zeros and ones"):
        load(write_csv(*lines, header="text,a,b"), label_column="a,b")

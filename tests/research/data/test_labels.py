"""Labels keep their names, and the task fits them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from research.data import Splits


def labels_of(splits: Splits) -> dict[str, Any]:
    return {row["text"]: row["label"] for _, split in splits.items() for row in split}


def rows_with(*labels: Any) -> list[dict[str, Any]]:
    """Return 20 rows per label; text 0 has the first label."""
    return [{"text": str(row), "label": labels[row % len(labels)]} for row in range(20 * len(labels))]


def test_strings_are_named_in_sorted_order(load, write_jsonl) -> None:
    splits = load(write_jsonl(rows_with("pos", "neg", "Neutral")))
    assert splits.task.label_names == ("Neutral", "neg", "pos")
    assert [labels_of(splits)[text] for text in "012"] == [2, 1, 0]
    assert splits.task.num_train == len(splits.train) == sum(splits.task.label_counts)
    assert splits.task.label_counts[0] == list(splits.train["label"]).count(0)


def test_integers_are_named_in_numeric_order(load, write_jsonl) -> None:
    splits = load(write_jsonl(rows_with(10, 9, -1)))
    assert splits.task.problem_type == "single_label"
    assert splits.task.label_names == ("-1", "9", "10")
    assert labels_of(splits)["0"] == 2


def test_integers_in_csv_are_one_label_however_written(load, write_csv) -> None:
    splits = load(write_csv(*[f"text {row},{('1', '01', ' 2')[row % 3]}" for row in range(60)]))
    assert splits.task.label_names == ("1", "2")


def test_strings_of_digits_in_jsonl_stay_strings(load, write_jsonl) -> None:
    assert load(write_jsonl(rows_with("01", "1"))).task.label_names == ("01", "1")


def test_booleans_are_labels(load, write_jsonl) -> None:
    splits = load(write_jsonl(rows_with(True, False)))
    assert (splits.task.problem_type, splits.task.label_names) == ("single_label", ("False", "True"))


def test_fractions_are_scores(load, write_csv) -> None:
    lines = [f"text {row},{row / 8}" for row in range(40)]
    splits = load(write_csv(*lines, header="text,score"))
    assert (splits.task.problem_type, splits.task.label_names) == ("regression", ("score",))
    assert splits.task.label_counts == ()
    assert labels_of(splits)["text 3"] == 0.375
    assert splits.task.score_mean == pytest.approx(np.mean(splits.train["label"]))
    assert splits.task.score_std == pytest.approx(np.std(splits.train["label"]))
    assert "Task (guessed): regression, scores 'score'." in load.said


def test_integers_can_be_scores(load, write_csv) -> None:
    splits = load(write_csv(*[f"text {row},{row % 5}" for row in range(40)]), task="regression")
    assert labels_of(splits)["text 3"] == 3.0
    assert str(splits.train.features["label"].dtype) == "float64"


def test_fractions_can_be_names(load, write_jsonl) -> None:
    splits = load(write_jsonl(rows_with(10.0, 9.5)), task="single_label")
    assert splits.task.label_names == ("9.5", "10.0")


def test_lists_are_several_labels(load, write_jsonl) -> None:
    splits = load(write_jsonl(rows_with(["b", "a"], [], ["c"])))
    assert (splits.task.problem_type, splits.task.label_names) == ("multi_label", ("a", "b", "c"))
    assert [labels_of(splits)[text] for text in "012"] == [[1, 0], [], [2]]
    train = [code for codes in splits.train["label"] for code in codes]
    assert splits.task.label_counts == tuple(train.count(code) for code in range(3))


@pytest.mark.parametrize(
    ("labels", "task", "message"),
    [
        ((1, 2), "multi_label", "task=multi_label needs lists of labels, in jsonl or parquet"),
        ((["a"], ["b"]), "single_label", "task=single_label needs one value per row; column 'label' holds lists"),
        (("a", "b"), "regression", "task=regression needs numbers; column 'label' holds none"),
        ((["a"], "b"), None, "holds lists in some rows and single labels in others"),
        ((0.5, "b"), None, "holds numbers with a fraction in some rows and text in others"),
        (([], []), None, "has only one label in the training rows, none"),
        (([0, 0, 1], [1, 0, 0]), None, "a label is listed twice"),
        (([["a"]], ["b"]), None, "the label is a list"),
        (([None], ["b"]), None, "missing label"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    load, write_jsonl, labels: tuple[Any, ...], task: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        load(write_jsonl(rows_with(*labels)), task=task)


def test_scores_that_are_no_numbers_are_bad_rows(load, write_csv) -> None:
    lines = [f"text {row},{row}" for row in range(30)]
    path = write_csv(*lines, "x,four", "y,1e999", "z,inf")
    with pytest.raises(ValueError, match=r"3 bad rows of 33: .*row 31.*'four' is not a finite number.*'1e999'.*'inf'"):
        load(path, task="regression")
    assert sum(len(split) for _, split in load(path, task="regression", bad_rows="skip").items()) == 30


def test_several_labels_unknown_to_train_are_named(load, write_jsonl) -> None:
    folder = write_jsonl(rows_with(["a"], ["b"]), name="data/train.jsonl").parent
    write_jsonl([{"text": "x", "label": ["a", "c", "d"]}], name="data/test.jsonl")
    with pytest.raises(ValueError, match=r"test.jsonl, row 1: the label 'c', 'd' does not occur in the training rows"):
        load(folder)


def test_a_declared_label_that_train_lacks_is_unknown(load, tmp_path) -> None:
    from datasets import ClassLabel, Dataset, Features, Value

    features = Features({"text": Value("string"), "label": ClassLabel(names=["a", "b", "c"])})
    (tmp_path / "data").mkdir()
    for name, labels in (("train", [0, 1] * 10), ("test", [0, 2, -1])):
        rows = {"text": [f"{name} {row}" for row in range(len(labels))], "label": labels}
        Dataset.from_dict(rows, features).to_parquet(str(tmp_path / "data" / f"{name}.parquet"))
    with pytest.raises(ValueError, match=r"row 2: the label 'c' does not occur .*row 3: missing label"):
        load(tmp_path / "data")
    assert load(tmp_path / "data", bad_rows="skip").task.label_names == ("a", "b", "c")

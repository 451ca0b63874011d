"""Labels keep their names, and the task fits them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from research.data.prepare.load import Splits
from research.data.sources.base import list_file_sources
from tests.builders.good_files import FILE_TYPES
from tests.research.data.conftest import Loader, WriteCsv, WriteJsonl
from tests.research.data.sources.small_files import write_file


def labels_of(splits: Splits) -> dict[str, Any]:
    """Return the label of each row by the number of the row, which its text ends in."""
    return {row["text"].split()[-1]: row["label"] for _, split in splits.items() for row in split}


def rows_with(*labels: Any) -> list[dict[str, Any]]:
    """Return 20 rows per label; text 0 has the first label."""
    return [{"text": f"text {row}", "label": labels[row % len(labels)]} for row in range(20 * len(labels))]


def test_strings_are_named_in_sorted_order(load: Loader, write_jsonl: WriteJsonl) -> None:
    splits = load(write_jsonl(rows_with("pos", "neg", "Neutral")))
    assert splits.task.label_names == ("Neutral", "neg", "pos")
    assert [labels_of(splits)[text] for text in "012"] == [2, 1, 0]
    assert splits.task.num_train == len(splits.train) == sum(splits.task.label_counts)
    assert splits.task.label_counts[0] == list(splits.train["label"]).count(0)


def test_integers_are_named_in_numeric_order(load: Loader, write_jsonl: WriteJsonl) -> None:
    splits = load(write_jsonl(rows_with(10, 9, -1)))
    assert splits.task.problem_type == "single_label"
    assert splits.task.label_names == ("-1", "9", "10")
    assert labels_of(splits)["0"] == 2


WriteLabels = Callable[..., Path]
"""Called with labels."""


@pytest.fixture(params=[suffix for suffix in list_file_sources() if FILE_TYPES[suffix].contents != "texts"])
def write_labels(request: pytest.FixtureRequest, tmp_path: Path) -> WriteLabels:
    """Writes 20 rows per label, labels as strings, in one of the formats that hold any string."""

    def write(*labels: str) -> Path:
        rows = [(row["text"], row["label"]) for row in rows_with(*labels)]
        return write_file(tmp_path / f"labelled{request.param}", rows)

    return write


@pytest.mark.parametrize(
    ("written", "names"),
    [
        (("1", "+1", " 2"), ("1", "2")),
        (("01", "02", "10"), ("01", "02", "10")),
        (("1", "01", "2"), ("01", "1", "2")),
        (("+1", "-1"), ("-1", "+1")),
        (("1", "2", "10"), ("1", "2", "10")),
        (("pos", " pos", "neg"), ("neg", "pos")),
        (("1234567890123456789", "1234567890123456788"), ("1234567890123456788", "1234567890123456789")),
    ],
)
def test_names_do_not_depend_on_the_kind_of_file(
    load: Loader, write_labels: WriteLabels, written: tuple[str, ...], names: tuple[str, ...]
) -> None:
    task = load(write_labels(*written)).task
    assert (task.problem_type, set(task.label_names)) == ("single_label", set(names))


def test_merged_labels_are_reported_with_their_rows(load: Loader, write_labels: WriteLabels) -> None:
    path = write_labels("1", "+1", "12", "1")
    splits = load(path, validation_share=0.1, test_share=0.1)
    (merged,) = [line for line in load.said if "Merged" in line]
    assert merged.startswith("Warning: ")
    assert "'+1' (20 rows)" in merged
    assert "'1' (40 rows)" in merged
    assert splits.task.label_names == ("1", "12")


def test_labels_that_look_alike_are_kept_apart_and_reported(load: Loader, write_labels: WriteLabels) -> None:
    assert load(write_labels("Pos", "pos", "neg")).task.label_names == ("Pos", "neg", "pos")
    assert any(line.startswith("Warning: ") and "'Pos' and 'pos'" in line for line in load.said)
    assert load(write_labels("1", "01", "2")).task.num_labels == 3
    assert any("'01' and '1'" in line for line in load.said)


@pytest.mark.parametrize("first", [0, 1])
def test_label_ids_may_start_at_any_number(load: Loader, write_labels: WriteLabels, first: int) -> None:
    task = load(write_labels(str(first), str(first + 1), str(first + 2))).task
    assert task.label_names == (str(first), str(first + 1), str(first + 2))
    assert set(task.label_counts) == {15}


def test_booleans_are_labels(load: Loader, write_jsonl: WriteJsonl) -> None:
    splits = load(write_jsonl(rows_with(True, False)))
    assert (splits.task.problem_type, splits.task.label_names) == ("single_label", ("False", "True"))


def test_fractions_are_scores(load: Loader, write_csv: WriteCsv) -> None:
    lines = [f"text {row},{row / 8}" for row in range(40)]
    splits = load(write_csv(*lines, header="text,score"))
    assert (splits.task.problem_type, splits.task.label_names) == ("regression", ("score",))
    assert splits.task.label_counts == ()
    assert labels_of(splits)["3"] == 0.375
    assert splits.task.score_mean == pytest.approx(np.mean(splits.train["label"]))
    assert splits.task.score_std == pytest.approx(np.std(splits.train["label"]))
    assert "Task (guessed): regression, scores 'score'." in load.said


def test_integers_can_be_scores(load: Loader, write_csv: WriteCsv) -> None:
    splits = load(write_csv(*[f"text {row},{row % 5}" for row in range(40)]), task="regression")
    assert labels_of(splits)["3"] == 3.0
    assert str(splits.train.features["label"].dtype) == "float64"


def test_fractions_can_be_names(load: Loader, write_jsonl: WriteJsonl) -> None:
    splits = load(write_jsonl(rows_with(10.0, 9.5)), task="single_label")
    assert splits.task.label_names == ("9.5", "10.0")


@pytest.mark.parametrize("zero_and_one", [(0, 1), (False, True), (0.0, 1.0), ("0", "1")])
def test_lists_with_one_1_are_one_hot(
    load: Loader, write_jsonl: WriteJsonl, zero_and_one: tuple[object, object]
) -> None:
    vectors = [[zero_and_one[position == label] for position in range(3)] for label in (2, 0, 1)]
    splits = load(write_jsonl(rows_with(*vectors)))
    assert (splits.task.problem_type, splits.task.label_names) == ("single_label", ("0", "1", "2"))
    assert [labels_of(splits)[text] for text in "012"] == [2, 0, 1]
    assert any("one-hot" in line for line in load.said)


def test_lists_of_zeros_and_ones_are_multi_hot(load: Loader, write_jsonl: WriteJsonl) -> None:
    splits = load(write_jsonl(rows_with([0, 1, 1], [0, 0, 0], [1, 0, 0])))
    assert (splits.task.problem_type, splits.task.label_names) == ("multi_label", ("0", "1", "2"))
    assert [labels_of(splits)[text] for text in "012"] == [[1, 2], [], [0]]
    train = [code for codes in splits.train["label"] for code in codes]
    assert splits.task.label_counts == tuple(train.count(code) for code in range(3))
    assert any("multi-hot" in line for line in load.said)


def test_two_zeros_and_ones_are_one_hot(load: Loader, write_jsonl: WriteJsonl) -> None:
    splits = load(write_jsonl(rows_with([0, 1], [1, 0])))
    assert (splits.task.problem_type, [labels_of(splits)[text] for text in "01"]) == ("single_label", [1, 0])


def test_one_hot_lists_can_be_several_labels(load: Loader, write_jsonl: WriteJsonl) -> None:
    splits = load(write_jsonl(rows_with([0, 1], [1, 0])), task="multi_label")
    assert [labels_of(splits)[text] for text in "01"] == [[1], [0]]


def test_lists_of_label_ids_0_and_1_are_names(load: Loader, write_jsonl: WriteJsonl) -> None:
    splits = load(write_jsonl(rows_with([0], [1], [0, 1], [])))
    assert (splits.task.problem_type, splits.task.label_names) == ("multi_label", ("0", "1"))
    assert [labels_of(splits)[text] for text in "0123"] == [[0], [1], [0, 1], []]


def test_columns_of_zeros_and_ones_are_labels(load: Loader, write_csv: WriteCsv) -> None:
    lines = [f"text {row},{int(row % 3 == 0)},{int(row % 3 == 1)},{int(row % 3 == 2)}" for row in range(60)]
    path = write_csv(*lines, header="text,joy,anger,fear")
    splits = load(path, label_column="joy, anger,fear")
    assert (splits.task.problem_type, splits.task.label_names) == ("single_label", ("joy", "anger", "fear"))
    assert [labels_of(splits)[text] for text in "012"] == [0, 1, 2]
    both = write_csv(*lines, "both 60,1,1,0", header="text,joy,anger,fear")
    splits = load(both, label_column="joy,anger,fear")
    assert splits.task.problem_type == "multi_label"
    assert labels_of(splits)["60"] == [0, 1]
    with pytest.raises(ValueError, match=r"row 61.*'2' among the labels, expected zeros and ones"):
        load(write_csv(*lines, "two,2,0,0", header="text,joy,anger,fear"), label_column="joy,anger,fear")
    with pytest.raises(ValueError, match="Unknown column 'angry'"):
        load(path, label_column="joy,angry")


def test_a_separator_makes_several_labels_of_a_string(load: Loader, write_labels: WriteLabels) -> None:
    path = write_labels("joy;anger", "joy", "anger")
    assert load(path).task.label_names == ("anger", "joy", "joy;anger")
    assert any(line.startswith("Warning: ") and "label_separator=';'" in line for line in load.said)
    splits = load(path, label_separator=";")
    assert (splits.task.problem_type, splits.task.label_names) == ("multi_label", ("anger", "joy"))
    assert [labels_of(splits)[text] for text in "012"] == [[1, 0], [1], [0]]


def test_names_with_commas_are_no_lists(load: Loader, write_jsonl: WriteJsonl) -> None:
    load(write_jsonl(rows_with("Paris, France", "Lyon, France", "Rome, Italy")))
    assert not any("label_separator" in line for line in load.said)


def test_few_whole_numbers_stored_as_floats_are_classes(load: Loader, write_csv: WriteCsv) -> None:
    lines = [f"text {row},{float(row % 2)}" for row in range(40)]
    path = write_csv(*lines)
    splits = load(path)
    assert (splits.task.problem_type, splits.task.label_names) == ("single_label", ("0", "1"))
    assert any(line.startswith("Warning: ") and "task=regression" in line for line in load.said)
    assert load(path, task="regression").task.problem_type == "regression"
    assert not any("Warning: " in line for line in load.said)


@pytest.mark.parametrize(
    ("labels", "problem_type", "setting"),
    [
        ([str(float(number)) for number in range(30)], "regression", "task=single_label"),
        (["0.5", "1.0", "1.5"], "regression", "task=single_label"),
        ([str(number) for number in range(30)], "single_label", "task=regression"),
        ([str(number) for number in range(30)] * 20, "single_label", "task=regression"),
        ([str(10**18 + number) for number in range(400)], "single_label", "label_column"),
        (["['a']", "['b']"], "single_label", "label_separator"),
    ],
)
def test_a_second_reading_is_reported_with_its_setting(
    load: Loader, write_csv: WriteCsv, labels: list[str], problem_type: str, setting: str
) -> None:
    splits = load(write_csv(*[f"text {row},{labels[row % len(labels)]}" for row in range(600)]))
    assert splits.task.problem_type == problem_type
    assert any(line.startswith("Warning: ") and setting in line for line in load.said), load.said


@pytest.mark.parametrize(
    ("labels", "remedy"),
    [(["0.5", "1.0", "1.5"], "store them as numbers"), ([[0, 1], [1, 0], [0, 1], [1]], "give all of them one length")],
)
def test_a_second_reading_of_json_is_reported(
    load: Loader, write_jsonl: WriteJsonl, labels: list[object], remedy: str
) -> None:
    load(write_jsonl([{"text": f"text {row}", "label": labels[row % len(labels)]} for row in range(40)]))
    assert any(line.startswith("Warning: ") and remedy in line for line in load.said), load.said


def test_a_label_column_of_ids_is_refused_if_nothing_can_be_carved(load: Loader, write_csv: WriteCsv) -> None:
    with pytest.raises(ValueError, match=r"too few to carve a test split .* while each of 60 labels keeps one"):
        load(write_csv(*[f"text {row},{10**18 + row}" for row in range(60)]))


def test_clear_labels_cause_no_warning(load: Loader, write_csv: WriteCsv) -> None:
    load(write_csv(*[f"text {row},{row % 5}" for row in range(600)]))
    assert not any("Warning" in line for line in load.said)


def test_lists_are_several_labels(load: Loader, write_jsonl: WriteJsonl) -> None:
    splits = load(write_jsonl(rows_with(["b", "a"], [], ["c"])))
    assert (splits.task.problem_type, splits.task.label_names) == ("multi_label", ("a", "b", "c"))
    assert [labels_of(splits)[text] for text in "012"] == [[1, 0], [], [2]]
    train = [code for codes in splits.train["label"] for code in codes]
    assert splits.task.label_counts == tuple(train.count(code) for code in range(3))


@pytest.mark.parametrize(
    ("labels", "task", "message"),
    [
        ((1, 2), "multi_label", "task=multi_label needs lists of labels, in jsonl or parquet"),
        ((["a", "c"], ["b"]), "single_label", "task=single_label needs one value per row; column 'label' holds lists"),
        (("a", "b"), "regression", "task=regression needs numbers; column 'label' holds none"),
        ((["a"], "b"), None, "holds lists in some rows and single labels in others"),
        ((0.5, "b"), None, r"decimal numbers in some rows and text in others \('b'\)\. .* task=regression"),
        (([], []), None, "has only one label in the training rows, none"),
        ((["a", "a"], ["b"]), None, "a label is listed twice"),
        (([0, 0, 1], [1, 2, 0]), None, "a label is listed twice"),
        (([0, 1, 0], [1, 0, 0], [1, 0]), None, "2 zeros and ones, expected 3"),
        (([0.2, 0.8], [0.9, 0.1]), None, "lists of numbers with a fraction"),
        (([0, 1], [1, 0]), "regression", "zeros and ones for several labels"),
        (([["a"]], ["b"]), None, "the label is a list"),
        (([None], ["b"]), None, "missing label"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    load: Loader, write_jsonl: WriteJsonl, labels: tuple[Any, ...], task: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        load(write_jsonl(rows_with(*labels)), task=task)


def test_scores_that_are_no_numbers_are_bad_rows(load: Loader, write_csv: WriteCsv) -> None:
    lines = [f"text {row},{row}" for row in range(30)]
    path = write_csv(*lines, "x,four", "y,1e999", "z,inf")
    with pytest.raises(ValueError, match=r"3 bad rows of 33: .*row 31.*'four' is not a finite number.*'1e999'.*'inf'"):
        load(path, task="regression")
    assert sum(len(split) for _, split in load(path, task="regression", bad_rows="skip").items()) == 30


@pytest.mark.parametrize(
    ("labels", "explained"),
    [
        ([f"{number},25" for number in range(40)], "numbers with a fraction as text"),
        ([f"id {number}" for number in range(40)], "40 different labels in 40 training rows, as ids or texts do"),
    ],
)
def test_labels_that_leave_too_few_rows_to_carve_are_explained(
    load: Loader, write_jsonl: WriteJsonl, labels: list[str], explained: str
) -> None:
    path = write_jsonl([{"text": f"text {row}", "label": label} for row, label in enumerate(labels)])
    with pytest.raises(ValueError, match=f"too few to carve .*{explained}"):
        load(path)


def test_several_labels_unknown_to_train_are_named(load: Loader, write_jsonl: WriteJsonl) -> None:
    folder = write_jsonl(rows_with(["a"], ["b"]), name="data/train.jsonl").parent
    write_jsonl([{"text": "x", "label": ["a", "c", "d"]}], name="data/test.jsonl")
    with pytest.raises(ValueError, match=r"test.jsonl, row 1: the label 'c', 'd' does not occur in the training rows"):
        load(folder)


def test_a_declared_label_that_train_lacks_is_unknown(load: Loader, tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset, Features, Value

    features = Features({"text": Value("string"), "label": ClassLabel(names=["a", "b", "c"])})
    (tmp_path / "data").mkdir()
    for name, labels in (("train", [0, 1] * 10), ("test", [0, 2, -1])):
        rows = {"text": [f"{name} {row}" for row in range(len(labels))], "label": labels}
        Dataset.from_dict(rows, features).to_parquet(str(tmp_path / "data" / f"{name}.parquet"))
    with pytest.raises(ValueError, match=r"row 2: the label 'c' does not occur .*row 3: missing label"):
        load(tmp_path / "data")
    assert load(tmp_path / "data", bad_rows="skip").task.label_names == ("a", "b", "c")


@pytest.mark.parametrize("unseen_labels", [None, "skip", "count_as_wrong"])
def test_ids_without_a_declared_name_are_bad_rows(load: Loader, tmp_path: Path, unseen_labels: str | None) -> None:
    from datasets import ClassLabel, Features, Value

    features = Features({"text": Value("string"), "label": ClassLabel(names=["a", "b", "c"])})
    rows = {"text": [f"text {row}" for row in range(39)], "label": [row % 3 + 1 for row in range(39)]}
    path = tmp_path / "ids_from_1.parquet"
    pq.write_table(pa.table(rows, schema=features.arrow_schema), path)
    with pytest.raises(ValueError, match=r"13 bad rows of 39: .*the label id 3 has no name: .* 3 names, .* 0 to 2"):
        load(path, unseen_labels=unseen_labels, task="single_label")


@pytest.mark.parametrize("odd", [[2, 0], [1, -1], [1, 0, 0]])
def test_one_list_of_another_kind_does_not_turn_the_others_into_names(
    load: Loader, write_jsonl: WriteJsonl, odd: list[int]
) -> None:
    rows = [*rows_with([1, 0], [0, 1]), {"text": "odd", "label": odd}]
    with pytest.raises(ValueError, match=r"1 bad row of 41: .*, row 41.*expected"):
        load(write_jsonl(rows))
    splits = load(write_jsonl(rows), bad_rows="skip")
    assert (splits.task.problem_type, splits.task.label_names) == ("single_label", ("0", "1"))
    assert labels_of(splits)["0"] == 0


def test_lists_of_zeros_and_ones_beside_many_others_are_reported(load: Loader, write_jsonl: WriteJsonl) -> None:
    load(write_jsonl([*rows_with([1, 0], [0, 1]), *({"text": f"odd {row}", "label": [2, 0]} for row in range(10))]))
    assert any("nothing but 0 and 1 in 80% of the rows" in line for line in load.said)


@pytest.mark.parametrize("num_labels", [3, 30])
def test_whole_numbers_too_large_for_plain_digits_have_no_fraction(
    load: Loader, tmp_path: Path, num_labels: int
) -> None:
    rows = rows_with(*(1e18 + 4096.0 * number for number in range(num_labels)))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    splits = load(tmp_path / "rows.parquet")
    assert any("whole numbers stored as floats" in line for line in load.said)
    if num_labels == 3:
        assert splits.task.label_names == ("1000000000000000000", "1000000000000004096", "1000000000000008192")


def test_numbers_with_exponents_are_the_same_labels(load: Loader, write_csv: WriteCsv) -> None:
    splits = load(write_csv(*(f"text {row},{('1e5', '200000', '3E7')[row % 3]}" for row in range(60))))
    assert splits.task.label_names == ("100000", "200000", "30000000")


@pytest.mark.parametrize("other", ["'pos'", "“pos”", "pos\u200b", "\ufeffpos", "po\0s", "pos\ufe0f", "Pos"])
def test_labels_that_look_alike_are_reported(load: Loader, write_jsonl: WriteJsonl, other: str) -> None:
    load(write_jsonl(rows_with("pos", other, "neg")))
    assert any("look alike" in line for line in load.said)


def test_other_writings_of_a_number_beside_names_look_alike(load: Loader, write_jsonl: WriteJsonl) -> None:
    load(write_jsonl(rows_with("1", "1.0", "unknown")))
    assert any("look alike" in line and "'1' and '1.0'" in line for line in load.said)


def test_truth_values_beside_zeros_and_ones_look_alike(load: Loader, write_jsonl: WriteJsonl) -> None:
    load(write_jsonl(rows_with(True, False)))
    assert not any("look alike" in line for line in load.said)
    load(write_jsonl(rows_with(True, False, 1, 0)))
    assert any("look alike" in line for line in load.said)


@pytest.mark.parametrize("labels", [("a", "b", "NA"), ("a", "b", "None"), ("1", "2", "n/a"), ("0", "1", "2", "-1")])
def test_labels_that_often_stand_for_none_are_reported(
    load: Loader, write_labels: WriteLabels, labels: tuple[str, ...]
) -> None:
    splits = load(write_labels(*labels))
    assert labels[-1] in splits.task.label_names
    assert any(f"often stand for none are read as classes: {labels[-1]!r} (" in line for line in load.said)


def test_minus_one_of_two_classes_is_a_class(load: Loader, write_labels: WriteLabels) -> None:
    load(write_labels("-1", "1"))
    assert not any("often stand for none" in line for line in load.said)


def test_nan_is_a_missing_label_in_every_kind_of_file(load: Loader, write_labels: WriteLabels) -> None:
    with pytest.raises(ValueError, match=r"20 bad rows of 60: .*missing label"):
        load(write_labels("a", "b", "NaN"))


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_test_rows_may_write_whole_numbers_as_floats(
    load: Loader, write_csv: WriteCsv, write_jsonl: WriteJsonl, kind: str
) -> None:
    folder = write_csv(*(f"train {row},{row % 2}" for row in range(40)), name="data/train.csv").parent
    if kind == "csv":
        write_csv(*(f"test {row},{row % 2}.0" for row in range(10)), name="data/test.csv")
    else:
        write_jsonl([{"text": f"test {row}", "label": row % 2 + 0.0} for row in range(10)], name="data/test.jsonl")
    splits = load(folder)
    assert list(splits.test["label"]) == [0, 1] * 5


def test_training_files_that_disagree_about_declared_names_are_refused(load: Loader, tmp_path: Path) -> None:
    declared = Dataset.from_dict(
        {"text": [f"named {row}" for row in range(20)], "label": [row % 2 for row in range(20)]},
        features=Features({"text": Value("string"), "label": ClassLabel(names=["x", "y"])}),
    )
    declared.to_parquet(tmp_path / "train-00001-of-00002.parquet")
    pq.write_table(pa.Table.from_pylist(rows_with(0, 1)), tmp_path / "train-00000-of-00002.parquet")
    with pytest.raises(ValueError, match=r"train-00001-of-00002\.parquet declares names .* train-00000-of-0"):
        load(tmp_path)


def test_ids_in_a_test_file_are_told_from_ids_without_a_name(load: Loader, write_csv: WriteCsv, tmp_path: Path) -> None:
    declared = Dataset.from_dict(
        {"text": [f"named {row}" for row in range(20)], "label": [row % 2 for row in range(20)]},
        features=Features({"text": Value("string"), "label": ClassLabel(names=["x", "y"])}),
    )
    declared.to_parquet(tmp_path / "train.parquet")
    write_csv("test 0,0", "test 1,1", name="test.csv")
    with pytest.raises(ValueError, match=r"0 is the id of a label where its name is expected.*\(x, y\)"):
        load(tmp_path)


def test_lists_of_one_label_can_be_read_as_single_labels(load: Loader, write_jsonl: WriteJsonl) -> None:
    path = write_jsonl(rows_with(["p"], ["n"]))
    assert load(path).task.problem_type == "multi_label"
    assert any("lists of one label each" in line and "task=single_label" in line for line in load.said)
    splits = load(path, task="single_label")
    assert (splits.task.label_names, labels_of(splits)["0"]) == (("n", "p"), 1)


def test_columns_of_other_values_than_zeros_and_ones_are_named(load: Loader, write_csv: WriteCsv) -> None:
    lines = [f"text {row},{('yes,no', 'no,yes')[row % 2]}" for row in range(20)]
    with pytest.raises(ValueError, match=r"Columns 'a, b': 'yes', 'no' among the labels, expected zeros and ones"):
        load(write_csv(*lines, header="text,a,b"), label_column="a,b")


def test_joined_names_in_lists_are_reported(load: Loader, write_jsonl: WriteJsonl) -> None:
    load(write_jsonl(rows_with(["joy|anger"], ["joy"], ["anger", "fear"])))
    assert any("look like several names joined by '|'" in line for line in load.said)

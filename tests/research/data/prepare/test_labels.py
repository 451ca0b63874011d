"""Read label names, which do not depend on the file type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from research.data.prepare.labels import (
    BadLabelError,
    LabelCodes,
    MissingLabelError,
    group_lookalikes,
    parse_scores,
    read_label,
)
from research.tasks.label_forms import LabelForms
from tests.messages import in_order
from tests.research.data.conftest import Loader, WriteCsv, WriteJsonl
from tests.research.data.prepare.conftest import WriteLabels
from tests.research.data.prepare.labelled_rows import labels_by_row_number, rows_with_labels


def test_string_labels_are_sorted_alphabetically(load: Loader, write_jsonl: WriteJsonl) -> None:
    splits = load(write_jsonl(rows_with_labels("pos", "neg", "Neutral")))
    assert splits.task.label_names == ("Neutral", "neg", "pos")
    assert [labels_by_row_number(splits)[row] for row in range(3)] == [2, 1, 0]
    assert splits.task.num_train == len(splits.train) == sum(splits.task.label_counts)
    assert splits.task.label_counts[0] == list(splits.train["label"]).count(0)


def test_integer_labels_are_sorted_numerically(load: Loader, write_jsonl: WriteJsonl) -> None:
    splits = load(write_jsonl(rows_with_labels(10, 9, -1)))
    assert splits.task.name == "single_label"
    assert splits.task.label_names == ("-1", "9", "10")
    assert labels_by_row_number(splits)[0] == 2


@pytest.mark.parametrize(
    ("values", "names"),
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
def test_label_names_do_not_depend_on_the_file_type(
    load: Loader, write_labels: WriteLabels, values: tuple[str, ...], names: tuple[str, ...]
) -> None:
    task = load(write_labels(*values)).task
    assert (task.name, set(task.label_names)) == ("single_label", set(names))


@pytest.mark.parametrize("first", [0, 1])
def test_label_ids_can_start_at_0_or_1(load: Loader, write_labels: WriteLabels, first: int) -> None:
    task = load(write_labels(str(first), str(first + 1), str(first + 2))).task
    assert task.label_names == (str(first), str(first + 1), str(first + 2))
    assert set(task.label_counts) == {15}  # 20 rows per label, of which a quarter are not training rows


def test_booleans_are_read_as_label_names(load: Loader, write_jsonl: WriteJsonl) -> None:
    splits = load(write_jsonl(rows_with_labels(True, False)))
    assert (splits.task.name, splits.task.label_names) == ("single_label", ("False", "True"))


def test_fractions_can_be_label_names(load: Loader, write_jsonl: WriteJsonl) -> None:
    splits = load(write_jsonl(rows_with_labels(10.0, 9.5)), task="single_label")
    assert splits.task.label_names == ("9.5", "10.0")


@pytest.mark.parametrize("num_labels", [3, 30])
def test_label_names_of_large_floats_are_written_as_integers(load: Loader, tmp_path: Path, num_labels: int) -> None:
    rows = rows_with_labels(*(1e18 + 4096.0 * number for number in range(num_labels)))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    splits = load(tmp_path / "rows.parquet")
    assert load.reported("Warning:", "'label'", "floats")
    if num_labels == 3:  # 30 different floats are read as scores, which have no names
        assert splits.task.label_names == ("1000000000000000000", "1000000000000004096", "1000000000000008192")


def test_label_names_of_numbers_with_exponents_are_written_as_integers(load: Loader, write_csv: WriteCsv) -> None:
    splits = load(write_csv(*(f"text {row},{('1e5', '200000', '3E7')[row % 3]}" for row in range(60))))
    assert splits.task.label_names == ("100000", "200000", "30000000")


def test_nan_is_a_missing_label_in_all_file_types(load: Loader, write_labels: WriteLabels) -> None:
    with pytest.raises(ValueError, match=in_order("20 bad rows of 60: ", "missing label")):
        load(write_labels("a", "b", "NaN"))


@pytest.mark.parametrize("file_type", ["csv", "jsonl"])
def test_integer_labels_of_test_rows_can_be_stored_as_floats(
    load: Loader, write_csv: WriteCsv, write_jsonl: WriteJsonl, file_type: str
) -> None:
    folder = write_csv(*(f"train {row},{row % 2}" for row in range(40)), name="data/train.csv").parent
    if file_type == "csv":
        write_csv(*(f"test {row},{row % 2}.0" for row in range(10)), name="data/test.csv")
    else:
        write_jsonl([{"text": f"test {row}", "label": row % 2 + 0.0} for row in range(10)], name="data/test.jsonl")
    splits = load(folder)
    assert list(splits.test["label"]) == [0, 1] * 5


@pytest.mark.parametrize(
    "names",
    [
        *(
            ("pos", variant)
            for variant in ("'pos'", "“pos”", "pos\u200b", "\ufeffpos", "po\0s", "pos\ufe0f", "Pos", " pos")
        ),
        ("a b", "a  B"),
        ("caf\u00e9", "cafe\u0301"),
        ("1", "1.0"),
        ("1", "01", "+1"),
        ("True", "1"),
        ("0", "false"),
    ],
)
def test_group_lookalikes_groups_names_that_look_alike(names: tuple[str, ...]) -> None:
    assert group_lookalikes(["neg", *names, "unknown"]) == [list(names)]


def test_group_lookalikes_does_not_group_different_names() -> None:
    assert group_lookalikes(["True", "False", "pos", "neg", "10", "100", "-1", "a-b", "''", '"']) == []


@pytest.mark.parametrize(
    ("value", "typed", "expected", "scalar_types"),
    [  # `typed`: whether the file type distinguishes numbers from strings, as JSON does and csv does not
        ("pos", True, ["pos"], {"str"}),
        (" 7 ", False, [" 7 "], {"int"}),
        ("7", True, ["7"], {"str"}),
        ("1e3", False, ["1e3"], {"float"}),
        (True, True, ["True"], {"bool"}),
        (0.5, True, ["0.5"], {"float"}),
        (["a", 2], True, ["a", "2"], {"str", "int"}),
        ([], True, [], {None}),
    ],
)
def test_read_label_returns_strings_and_records_the_form(
    value: Any, typed: bool, expected: list[str], scalar_types: set[str | None]
) -> None:
    forms = LabelForms()
    assert read_label(value, forms, typed=typed) == expected
    assert (forms.type_names, forms.has_lists) == (scalar_types, isinstance(value, list))


@pytest.mark.parametrize("value", [None, "", "  ", "NaN", "<NA>", "#N/A", float("nan"), [None, ""]])
def test_read_label_distinguishes_missing_labels_from_bad_labels(value: Any) -> None:
    with pytest.raises(MissingLabelError):
        read_label(value, LabelForms(), typed=True)
    with pytest.raises(BadLabelError) as caught:
        read_label([["a"]], LabelForms(), typed=True)
    assert not isinstance(caught.value, MissingLabelError)


def test_parse_scores_returns_nan_for_values_that_are_not_finite_numbers() -> None:
    scores = parse_scores(pa.array([" 1.5 ", "-2", "1e3", "inf", "four", "1,5", ""]))
    np.testing.assert_array_equal(scores, [1.5, -2, 1000, *[np.nan] * 4])


def test_label_codes_can_be_learned_extended_and_declared() -> None:
    codes = LabelCodes.learn(["10", "9", "+9", " 9.0 "])
    assert codes.names == ("9", "10")
    assert codes.encode(pa.array(["9.0", "+10", "11", "nine"])).tolist() == [0, 1, -1, -1]
    assert codes.find_unknown(["9", "11", " nine "]) == {"11", "nine"}
    assert codes.find_spellings({"9": 3, "+9": 1, "10": 2}) == {"9": {"9": 3, "+9": 1}}
    assert codes.with_names(["11"]).encode(pa.array(["11", "9"])).tolist() == [2, 0]
    declared = LabelCodes.from_declared(["x", "y"])
    assert [value for value in ("x", "2", "z") if declared.is_undeclared_integer(value)] == ["2"]
    assert declared.find_unknown(["x", "2", "z"]) == {"z"}

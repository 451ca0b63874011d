"""Warn of labels that have a second plausible interpretation, and name the setting that selects it."""

from __future__ import annotations

import re

import pytest

from research.data.prepare.label_warnings import warn_of_spellings
from tests.messages import in_order
from tests.research.data.conftest import Loader, WriteCsv, WriteJsonl
from tests.research.data.prepare.conftest import WriteLabels
from tests.research.data.prepare.labelled_rows import rows_with_labels


def test_merged_spellings_are_reported_with_their_row_counts(load: Loader, write_labels: WriteLabels) -> None:
    path = write_labels("1", "+1", "12", "1")  # 20 rows per label
    splits = load(path, validation_share=0.1, test_share=0.1)
    assert load.reported("Warning:", "'label'", "'+1' (20 rows)", "'1' (40 rows)", "'1'")
    assert splits.task.label_names == ("1", "12")


def test_labels_that_look_alike_are_reported_but_not_merged(load: Loader, write_labels: WriteLabels) -> None:
    assert load(write_labels("Pos", "pos", "neg")).task.label_names == ("Pos", "neg", "pos")
    assert load.reported("Warning:", "'Pos' and 'pos'")
    assert load(write_labels("1", "01", "2")).task.num_labels == 3
    assert load.reported("Warning:", "'01' and '1'")


def test_names_with_commas_cause_no_warning_about_separators(load: Loader, write_jsonl: WriteJsonl) -> None:
    load(write_jsonl(rows_with_labels("Paris, France", "Lyon, France", "Rome, Italy")))
    assert not load.reported("label_separator")


@pytest.mark.parametrize(
    ("labels", "task_name", "setting"),
    [
        ([str(float(number)) for number in range(30)], "regression", "--task single_label"),
        (["0.5", "1.0", "1.5"], "regression", "--task single_label"),
        ([str(number) for number in range(30)], "single_label", "--task regression"),
        ([str(10**18 + number) for number in range(400)], "single_label", "--label_column"),
        (["['a']", "['b']"], "single_label", "label_separator"),
    ],
)
def test_second_interpretation_of_csv_labels_is_reported_with_its_setting(
    load: Loader, write_csv: WriteCsv, labels: list[str], task_name: str, setting: str
) -> None:
    splits = load(write_csv(*[f"text {row},{labels[row % len(labels)]}" for row in range(600)]))
    assert splits.task.name == task_name
    assert load.reported("Warning:", "'label'", setting), load.messages


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["0.5", "1.0", "1.5"], "numbers"),
        ([[0, 1], [1, 0], [0, 1], [1]], "1 (10 rows) and 2 (30 rows)"),  # lengths of the lists
    ],
)
def test_second_interpretation_of_json_labels_is_reported(
    load: Loader, write_jsonl: WriteJsonl, labels: list[object], expected: str
) -> None:
    load(write_jsonl([{"text": f"text {row}", "label": labels[row % len(labels)]} for row in range(40)]))
    assert load.reported("Warning:", "'label'", expected), load.messages


def test_unambiguous_labels_cause_no_warning(load: Loader, write_csv: WriteCsv) -> None:
    load(write_csv(*[f"text {row},{row % 5}" for row in range(600)]))
    assert not load.reported("Warning")


def test_labels_that_are_mostly_indicator_lists_are_reported(load: Loader, write_jsonl: WriteJsonl) -> None:
    load(
        write_jsonl(
            [*rows_with_labels([1, 0], [0, 1]), *({"text": f"odd {row}", "label": [2, 0]} for row in range(10))]
        )
    )
    assert load.reported("Warning:", "'label'", "80%")  # 40 of 50 lists hold only zeros and ones


@pytest.mark.parametrize("labels", [("a", "b", "NA"), ("a", "b", "None"), ("1", "2", "n/a"), ("0", "1", "2", "-1")])
def test_labels_that_look_like_marks_of_missing_labels_are_reported(
    load: Loader, write_labels: WriteLabels, labels: tuple[str, ...]
) -> None:
    splits = load(write_labels(*labels))
    assert labels[-1] in splits.task.label_names
    assert load.reported("Warning:", "'label'", f"{labels[-1]!r} (in 20 ")


def test_minus_one_causes_no_warning_in_a_binary_task(load: Loader, write_labels: WriteLabels) -> None:
    load(write_labels("-1", "1"))
    assert not load.reported("Warning:")


def test_list_elements_that_may_hold_several_names_are_reported(load: Loader, write_jsonl: WriteJsonl) -> None:
    load(write_jsonl(rows_with_labels(["joy|anger"], ["joy"], ["anger", "fear"])))
    assert load.reported("Warning:", "'|'", "'joy|anger'", "--label_separator '|'")


def test_warn_of_spellings_shortens_a_long_list() -> None:
    spellings = {str(number): {str(number): 1200, f"+{number}": 1} for number in range(5)}
    (message,) = warn_of_spellings(spellings, list(spellings), "stars")
    assert re.search(in_order("Warning:", "'stars'", "'+0' (1 row)", "'0' (1,200 rows)", "'2'", "2 more"), message)
    assert "'3'" not in message
    assert warn_of_spellings({}, ["a", "b"], "stars") == []

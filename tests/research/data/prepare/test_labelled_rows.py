"""Labelled rows for a trained model: labels are matched by name."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from research.data.prepare.arrow import RowWriter
from research.data.prepare.labelled_rows import LabelledRows, ModelColumns, read_labelled_rows
from research.settings.config import DataSettings
from research.system.durable import StorageError
from research.tasks.base import Task
from research.tasks.multi_label import MultiLabel
from research.tasks.regression import Regression
from research.tasks.single_label import SingleLabel
from tests.messages import in_order

SINGLE = SingleLabel(("positive", "negative"))  # in an order of its own
MULTI = MultiLabel(("warm", "bad", "good"))


def write_lines(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def read(
    data: str,
    task: Task,
    folder: Path,
    *,
    text: tuple[str, ...] = ("text",),
    label: tuple[str, ...] = ("label",),
    renames: dict[str, str] | None = None,
    split: str | None = None,
    **settings: Any,
) -> LabelledRows:
    folder = folder / "scratch"
    folder.mkdir(exist_ok=True)
    columns = ModelColumns(text, label)
    return read_labelled_rows(DataSettings(data=data, **settings), split, task, columns, renames or {}, folder)


def test_labels_get_the_codes_of_the_model(tmp_path: Path) -> None:
    rows = [{"text": f"row {index}", "label": name} for index, name in enumerate(["negative", "positive", "negative"])]
    data = read(write_lines(tmp_path / "new.jsonl", rows), SINGLE, tmp_path)
    assert data.rows["label"][:] == [1, 0, 1]
    assert data.rows["text"][:] == ["row 0", "row 1", "row 2"]
    assert list(data.files) == [("new.jsonl", 0)]


def test_numbers_are_matched_however_a_file_writes_them(tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("text,label\na b c,1.0\nd e f, 2\n")
    assert read(str(tmp_path / "new.csv"), SingleLabel(("2", "1")), tmp_path).rows["label"][:] == [1, 0]


def test_several_labels_are_matched_by_name_in_lists_separated_text_and_columns(tmp_path: Path) -> None:
    lists = [{"text": "a", "labels": ["good", "warm"]}, {"text": "b", "labels": []}]
    separated = [{"text": "a", "labels": "good; warm"}, {"text": "b", "labels": "bad"}]
    columns = [{"text": "a", "good": 1, "bad": 0, "warm": 1}, {"text": "b", "good": 0, "bad": 0, "warm": 0}]
    path = tmp_path / "new.jsonl"

    def read_label(**settings: Any) -> list[list[int]]:
        return [sorted(codes) for codes in read(str(path), MULTI, tmp_path, **settings).rows["label"][:]]

    write_lines(path, lists)
    assert read_label() == [[0, 2], []]
    write_lines(path, separated)
    assert read_label(label_separator=";") == [[0, 2], [1]]
    write_lines(path, columns)
    assert read_label(label_column="good,bad,warm") == [[0, 2], []]
    assert read_label(label=("warm", "bad", "good")) == [[0, 2], []]
    with pytest.raises(ValueError, match="missing: warm"):
        read_label(label_column="good,bad")


def test_labels_that_get_the_same_name_are_merged(tmp_path: Path) -> None:
    renames = {"hot": "warm", "bad": "good"}

    def read_label(rows: list[dict[str, Any]], task: Task = MULTI, **settings: Any) -> list[Any]:
        data = read(write_lines(tmp_path / "new.jsonl", rows), task, tmp_path, renames=renames, **settings)
        assert not data.skipped_rows
        assert not data.notes
        labels: list[Any] = data.rows["label"][:]
        return labels

    lists = [["good", "warm", "bad", "hot"], ["hot"], [], ["bad", "good"]]
    merged = [[2, 0], [0], [], [2]]
    assert read_label([{"text": "a", "label": names} for names in lists]) == merged
    separated = [{"text": "a", "label": ";".join(names)} for names in lists if names]
    assert read_label(separated, label_separator=";") == [labels for labels in merged if labels]
    names = ["good", "bad", "warm", "hot"]
    columns = [{"text": "a", **{name: int(name in labels) for name in names}} for labels in lists]
    assert read_label(columns, label_column=",".join(names)) == merged
    single = SingleLabel(("warm", "good"))
    assert read_label([{"text": "a", "label": name} for name in names], single) == [1, 1, 0, 0]
    one_hot = [{"text": "a", **{other: int(other == name) for other in names}} for name in names]
    one_hot.append({"text": "a", "good": 1, "bad": 1, "warm": 0, "hot": 0})
    assert read_label(one_hot, single, label_column=",".join(names)) == [1, 1, 0, 0, 1]


def test_names_can_be_swapped(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "new.jsonl", [{"text": "a", "label": [name]} for name in ("good", "bad", "warm")])
    renames = {"good": "bad", "bad": "good"}
    assert read(path, MULTI, tmp_path, renames=renames).rows["label"][:] == [[1], [2], [0]]


@pytest.mark.parametrize("renames", [{}, {"good": "bad"}, {"hot": "good"}, {"bad": "good"}])
def test_a_label_that_is_listed_twice_is_refused_however_it_is_renamed(tmp_path: Path, renames: dict[str, str]) -> None:
    rows = [{"text": "a", "label": ["good", "bad", " good"]}, {"text": "b", "label": ["good", "bad"]}]
    path = write_lines(tmp_path / "new.jsonl", rows)
    with pytest.raises(ValueError, match=in_order("1 bad row of 2: ", "row 1", "listed twice")):
        read(path, MULTI, tmp_path, renames=renames)


def test_two_columns_with_the_same_label_are_refused(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "new.jsonl", [{"text": "a", "1": 0, "1.0": 1, "2": 0}])
    with pytest.raises(ValueError, match=r"one label column .*several columns: 1\."):
        read(path, MultiLabel(("1", "2")), tmp_path, label_column="1,1.0,2")


def test_renamed_numbers_are_matched_however_a_file_writes_them(tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("text,label\na b c,1.0\nd e f,3\n")
    data = read(str(tmp_path / "new.csv"), SingleLabel(("2", "1")), tmp_path, renames={"1": "2", "3": "1"})
    assert data.rows["label"][:] == [0, 1]
    assert not data.notes


def test_scores_are_read_for_a_regression_model(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "new.jsonl", [{"text": "a", "score": 1.5}, {"text": "b", "score": 4}])
    assert read(path, Regression(("stars",)), tmp_path).rows["label"][:] == [1.5, 4.0]


def test_declared_names_are_matched_by_name(tmp_path: Path) -> None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["negative", "positive"])})
    rows = Dataset.from_dict({"text": ["one text", "other text"], "label": [0, 1]}, features)
    rows.to_parquet(tmp_path / "new.parquet")
    assert read(str(tmp_path / "new.parquet"), SINGLE, tmp_path).rows["label"][:] == [1, 0]


def test_unknown_labels_are_listed_with_counts_and_near_names(tmp_path: Path) -> None:
    names = ["positve", "negative", "positve", "neutral"]
    path = write_lines(tmp_path / "new.jsonl", [{"text": "a", "label": name} for name in names])
    with pytest.raises(ValueError, match="2 labels that the model does not have") as error:
        read(path, SINGLE, tmp_path)
    assert "'positve' (2 rows; did you mean 'positive'?)" in str(error.value)
    assert "'neutral' (1 row)" in str(error.value)
    assert "--label_map positve=positive" in str(error.value)
    renames = {"positve": "positive", "neutral": "negative"}
    assert read(path, SINGLE, tmp_path, renames=renames).rows["label"][:] == [0, 1, 0, 1]


def test_rows_without_labels_are_refused_or_skipped(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"text": "a", "label": "positive"},
        {"text": "b", "label": None},
        {"text": "", "label": "negative"},
    ]
    path = write_lines(tmp_path / "new.jsonl", rows)
    with pytest.raises(ValueError, match=r"2 bad rows of 3: .*missing label.*--bad_rows skip"):
        read(path, SINGLE, tmp_path)
    data = read(path, SINGLE, tmp_path, bad_rows="skip")
    assert data.rows["id"][:] == [0]
    assert sorted((item.reason, item.rows) for item in data.skipped_rows) == [("empty text", 1), ("missing label", 1)]


def test_columns_of_the_model_are_used_if_the_file_has_them(tmp_path: Path) -> None:
    rows = [{"text": "not this", "body": "this one", "label": "x", "mood": "positive"}]
    path = write_lines(tmp_path / "new.jsonl", rows)
    data = read(path, SINGLE, tmp_path, text=("body",), label=("mood",))
    assert data.rows["text"][:] == ["this one"]
    data = read(path, SINGLE, tmp_path, text=("body",), label=("mood",), text_column="text")
    assert data.rows["text"][:] == ["not this"]
    with pytest.raises(ValueError, match="Omit --text_pair_column"):
        read(path, SINGLE, tmp_path, text=("body",), label=("mood",), text_pair_column="text")


def test_a_model_of_pairs_reads_pairs(tmp_path: Path) -> None:
    rows = [{"premise": "first text", "hypothesis": "second text", "label": "positive"}]
    path = write_lines(tmp_path / "new.jsonl", rows)
    data = read(path, SINGLE, tmp_path, text=("premise", "hypothesis"))
    assert (data.rows["text"][:], data.rows["text_pair"][:]) == (["first text"], ["second text"])
    single = write_lines(tmp_path / "single.jsonl", [{"text": "only one text", "label": "positive"}])
    with pytest.raises(ValueError, match="pairs of texts; set --text_pair_column"):
        read(single, SINGLE, tmp_path, text=("premise", "hypothesis"))


def test_labels_of_another_form_are_refused(tmp_path: Path) -> None:
    lists = write_lines(tmp_path / "lists.jsonl", [{"text": "a", "label": ["positive", "negative"]}])
    with pytest.raises(ValueError, match=r"labels in lists\.jsonl do not fit the model"):
        read(lists, SINGLE, tmp_path)
    names = write_lines(tmp_path / "names.jsonl", [{"text": "a", "label": "positive"}])
    with pytest.raises(ValueError, match="needs numbers"):
        read(names, Regression(("stars",)), tmp_path)


def test_a_split_must_be_chosen_if_there_are_several(tiny_reviews: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"several splits; choose one with --split: train, validation, test"):
        read(str(tiny_reviews), SINGLE, tmp_path)
    with pytest.raises(ValueError, match="no split 'dev'"):
        read(str(tiny_reviews), SINGLE, tmp_path, split="dev")
    assert len(read(str(tiny_reviews), SINGLE, tmp_path, split="test").rows) == 23


def test_renames_that_no_row_needs_are_reported(tmp_path: Path) -> None:
    data = write_lines(tmp_path / "new.jsonl", [{"text": "a", "label": " pos"}, {"text": "b", "label": "negative"}])
    renames = {"pos": "positive", "neg": "negative"}
    (note,) = read(data, SINGLE, tmp_path, renames=renames).notes
    assert note == "Warning: new.jsonl does not have these labels of --label_map: 'neg'."
    scores = write_lines(tmp_path / "scores.jsonl", [{"text": "a", "label": 1.5}])
    (note,) = read(scores, Regression(("label",)), tmp_path, renames={"1.5": "label"}).notes
    assert "'1.5'" in note


def test_order_of_lists_of_zeros_and_ones_is_reported(tmp_path: Path) -> None:
    data = write_lines(
        tmp_path / "lists.jsonl", [{"text": "a", "labels": [0, 1, 1]}, {"text": "b", "labels": [1, 0, 0]}]
    )
    rows = read(data, MULTI, tmp_path, label=("labels",))
    assert rows.rows["label"][:] == [[1, 2], [0]]
    (note,) = rows.notes
    assert "warm, bad, good" in note


def test_full_temporary_disk_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(writer: RowWriter, *_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    data = write_lines(tmp_path / "new.jsonl", [{"text": "a", "label": "positive"}])
    for method in ("append", "append_batch"):  # while the rows are read, and while their label codes are written
        with monkeypatch.context() as patch:
            patch.setattr(RowWriter, method, fail)
            with pytest.raises(StorageError, match="No space left"):
                read(data, SINGLE, tmp_path)

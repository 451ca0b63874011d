"""Keep unlabelled test splits for prediction. A missing label in a training or validation row is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from transformers import PreTrainedTokenizerBase

from research.data.batches.collate import Collator
from research.data.batches.tokens import tokenize_splits
from research.data.sources.bad_rows import BadRowsError
from research.tasks.single_label import NO_LABEL
from tests.messages import in_order
from tests.research.data.conftest import Loader, WriteCsv, WriteJsonl, reviews


@pytest.fixture
def train_folder(write_csv: WriteCsv) -> Path:
    """Return a folder with a file of training rows, and no other split."""
    parent: Path = write_csv(*reviews(20), name="data/train.csv").parent
    return parent


@pytest.mark.parametrize(
    ("header", "lines"),
    [
        ("text", ["first", "second", "third"]),
        ("id,text", ["7,first", "8,second", "9,third"]),
        ("text,label", ["first,", "second,nan", "third,  "]),
        ("text,label", ["first,-1", "second,-1", "third,-1.0"]),
        ("text,label", ["first,-1", "second,", "third,-1"]),
    ],
)
def test_unlabelled_test_rows_are_kept(
    load: Loader, write_csv: WriteCsv, train_folder: Path, header: str, lines: list[str]
) -> None:
    write_csv(*lines, name="data/test.csv", header=header)
    splits = load(train_folder, unseen_labels="count_as_wrong")
    assert splits.unlabelled == ("test",)
    assert splits.test["text"][:] == ["first", "second", "third"]
    assert splits.test["label"][:] == [None, None, None]
    assert splits.test["id"][:] == [0, 1, 2]
    assert (splits.task.unseen_labels, splits.num_unseen["test"], splits.skipped_rows) == ((), 0, ())
    assert None not in splits.train["label"][:] + splits.validation["label"][:]
    assert load.reported("Warning:", "3 test rows")
    assert not load.reported("of 2 labels", "test")  # no warning that test rows lack some labels
    assert load(train_folder, limit_test=2).unlabelled == ("test",)
    assert load.reported("test", "2 of 3")


@pytest.mark.parametrize("missing", ["", "-1", "nan"])
def test_partly_labelled_test_rows_are_bad_rows(
    load: Loader, write_csv: WriteCsv, train_folder: Path, missing: str
) -> None:
    write_csv(f"first,{missing}", "second,label 1", f"third,{missing}", name="data/test.csv")
    with pytest.raises(BadRowsError, match=in_order("2 bad rows of 23: ", "test.csv, row 1 ", "test.csv, row 3")):
        load(train_folder)
    splits = load(train_folder, bad_rows="skip")
    assert splits.unlabelled == ()
    assert (splits.test["text"][:], splits.test["label"][:]) == (["second"], [1])
    assert sum(item.rows for item in splits.skipped_rows if item.split == "test") == 2


def test_empty_texts_in_an_unlabelled_split_are_bad_rows(load: Loader, write_csv: WriteCsv, train_folder: Path) -> None:
    write_csv("first,", " ,", "third,", name="data/test.csv")
    with pytest.raises(BadRowsError, match=in_order("1 bad row of 23: ", "test.csv, row 2 (line 3): empty text")):
        load(train_folder)
    assert load(train_folder, bad_rows="skip").test["text"][:] == ["first", "third"]


@pytest.mark.parametrize("header", ["text", "text,label"])
def test_validation_rows_need_labels(load: Loader, write_csv: WriteCsv, train_folder: Path, header: str) -> None:
    missing_label = "," if "label" in header else ""
    write_csv(f"first{missing_label}", f"second{missing_label}", name="data/validation.csv", header=header)
    with pytest.raises(ValueError, match=r"validation.csv.*label"):
        load(train_folder)


@pytest.mark.parametrize("column", ["lable", "labels", "Label", "target"])
def test_label_column_with_a_different_name_in_test_is_refused(
    load: Loader, write_csv: WriteCsv, train_folder: Path, column: str
) -> None:
    write_csv("first,label 0", name="data/test.csv", header=f"text,{column}")
    with pytest.raises(ValueError, match=rf"test\.csv.*'label'.*'{column}'"):
        load(train_folder)


def test_minus_one_is_a_label_if_training_rows_have_it_or_scores_around_it(
    load: Loader, write_csv: WriteCsv, write_jsonl: WriteJsonl
) -> None:
    folder = write_csv(*[f"text {row},{row % 3 - 1}" for row in range(30)], name="classes/train.csv").parent
    write_csv("first,-1", "second,-1", name="classes/test.csv")
    splits = load(folder)
    assert (splits.unlabelled, splits.test["label"][:]) == ((), [0, 0])
    scores: list[dict[str, Any]] = [{"text": f"text {row}", "label": row / 4 - 3} for row in range(30)]
    folder = write_jsonl(scores, "around_zero/train.jsonl").parent  # -1 is within the range of these scores
    write_jsonl([{"text": "first", "label": -1.0}], "around_zero/test.jsonl")
    splits = load(folder)
    assert (splits.unlabelled, splits.test["label"][:]) == ((), [-1.0])
    positive_scores = [{**row, "label": row["label"] + 3} for row in scores]
    folder = write_jsonl(positive_scores, "positive/train.jsonl").parent  # -1 is below all of these scores
    write_jsonl([{"text": "first", "label": -1.0}], "positive/test.jsonl")
    splits = load(folder)
    assert (splits.unlabelled, splits.test["label"][:]) == (("test",), [None])


def test_label_far_from_the_start_of_a_json_file_is_found(load: Loader, write_jsonl: WriteJsonl) -> None:
    # The columns are found by reading only 100 rows, and the test file's label is in row 150.
    rows: list[dict[str, Any]] = [{"text": f"text {row}", "label": "ab"[row % 2]} for row in range(150)]
    folder = write_jsonl(rows, "data/train.jsonl").parent
    unlabelled = [{"text": row["text"]} for row in rows[:149]]
    write_jsonl(unlabelled, "data/test.jsonl")
    assert load(folder).unlabelled == ("test",)
    write_jsonl([*unlabelled, rows[149]], "data/test.jsonl")
    with pytest.raises(BadRowsError, match=in_order("149 bad rows of 300: ", "test.jsonl, row 1: missing label")):
        load(folder)


def test_unlabelled_rows_can_be_pairs_or_belong_to_a_multi_label_task(
    load: Loader, write_csv: WriteCsv, write_jsonl: WriteJsonl
) -> None:
    rows = [{"text": f"text {row}", "label": ["a", "b"][: row % 3]} for row in range(30)]
    folder = write_jsonl(rows, "lists/train.jsonl").parent
    # Labels of both test rows, and the splits that are unlabelled. An empty list means that no label applies.
    cases: list[tuple[list[int] | None, tuple[str, ...]]] = [(None, ("test",)), ([-1], ("test",)), ([], ())]
    for labels, unlabelled in cases:
        write_jsonl([{"text": "first", "label": labels}, {"text": "second", "label": labels}], "lists/test.jsonl")
        splits = load(folder)
        assert (splits.task.name, splits.unlabelled) == ("multi_label", unlabelled)
        label: list[str] | None = None if unlabelled else []
        assert splits.test["label"][:] == [label, label]
    lines = [f"one {row},two {row},{row % 2},{row % 3 // 2}" for row in range(30)]
    folder = write_csv(*lines, name="columns/train.csv", header="sentence1,sentence2,joy,anger").parent
    for header, line in (("sentence1,sentence2", "a,b"), ("sentence1,sentence2,joy,anger", "a,b,-1,-1")):
        write_csv(line, name="columns/test.csv", header=header)
        splits = load(folder, label_column="joy,anger")
        assert (splits.unlabelled, splits.test["text_pair"][:]) == (("test",), ["b"])
    write_csv("a,b,1", name="columns/test.csv", header="sentence1,sentence2,joy")
    with pytest.raises(ValueError, match="Unknown column 'anger'"):
        load(folder, label_column="joy,anger")


def test_class_label_ids_of_minus_one_are_missing_labels(load: Loader, tmp_path: Path) -> None:
    (tmp_path / "glue").mkdir()
    features = Features({"sentence": Value("string"), "label": ClassLabel(names=["negative", "positive"])})
    for split, labels in (("train", [0, 1] * 10), ("validation", [0, 1] * 3), ("test", [-1] * 4)):
        rows = {"sentence": [f"{split} {row}" for row in range(len(labels))], "label": labels}
        Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "glue" / f"{split}.parquet")
    splits = load(tmp_path / "glue")
    assert (splits.unlabelled, splits.task.label_names) == (("test",), ("negative", "positive"))
    # The test file of the next load declares no label names.
    undeclared = pa.table({"sentence": ["first"], "label": [-1]})
    pq.write_table(undeclared, tmp_path / "glue" / "test.parquet")
    assert load(tmp_path / "glue").unlabelled == ("test",)


def test_collator_uses_placeholders_for_missing_labels(
    load: Loader, write_csv: WriteCsv, train_folder: Path, minilm_tokenizer: PreTrainedTokenizerBase
) -> None:
    write_csv("first", "second", name="data/test.csv", header="text")
    splits = tokenize_splits(load(train_folder), minilm_tokenizer)
    assert splits.unlabelled == ("test",)
    collate = Collator(minilm_tokenizer, splits.task, max_length=16, truncation="head", pair=False)
    assert collate(splits.test[[0, 1]]).labels.tolist() == [NO_LABEL, NO_LABEL]
    assert collate(splits.train[[0, 1]]).labels.min() >= 0


@pytest.mark.parametrize("mark", ["NA", "None", "null"])
def test_na_none_or_null_in_all_test_rows_means_unlabelled_unless_training_rows_have_it(
    load: Loader, write_csv: WriteCsv, mark: str
) -> None:
    folder = write_csv(*reviews(40), name="data/train.csv").parent
    write_csv(*(f"test {row},{mark}" for row in range(5)), name="data/test.csv")
    assert load(folder).unlabelled == ("test",)
    assert load.reported("Warning:", "5 test rows", mark)
    write_csv(*reviews(40), *(f"more {row},{mark}" for row in range(10)), name="data/train.csv")
    assert load(folder).unlabelled == ()

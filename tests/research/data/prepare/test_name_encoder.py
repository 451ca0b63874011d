"""Encode label names in training, validation and test rows."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from research.data.prepare.learn_labels import learn_labels
from research.data.sources.bad_rows import BadRows, BadRowsError
from tests.messages import in_order
from tests.research.data.conftest import Loader, WriteCsv, WriteJsonl, reviews
from tests.research.data.prepare.conftest import COLUMNS, IngestLabels
from tests.research.data.prepare.labelled_rows import rows_with_labels


def test_label_that_occurs_only_in_test_rows_is_refused(load: Loader, write_csv: WriteCsv) -> None:
    folder = write_csv(*reviews(10), name="data/train.csv").parent
    write_csv("known,label 0", "unknown,label 7", name="data/test.csv")
    with pytest.raises(
        BadRowsError,
        match=in_order("1 bad row of 12: ", "test.csv, row 2 (line 3): ", "'label 7'", "--unseen_labels"),
    ):
        load(folder)
    assert len(load(folder, bad_rows="skip").test) == 1


def test_unseen_labels_setting_overrides_bad_rows(load: Loader, write_csv: WriteCsv) -> None:
    folder = write_csv(*reviews(10), name="data/train.csv").parent
    write_csv("known,label 0", "unknown,label 7", name="data/test.csv")
    assert len(load(folder, unseen_labels="skip").test) == 1
    with pytest.raises(BadRowsError, match=r"label 7.*--unseen_labels skip"):
        load(folder, bad_rows="skip", unseen_labels="error")
    write_csv("known,label 0", "unknown,label 7", ",label 0", name="data/test.csv")
    with pytest.raises(BadRowsError, match=in_order("1 bad row of 13: ", "empty text", "--bad_rows skip")):
        load(folder, unseen_labels="skip")


def test_unseen_labels_can_count_as_wrong(load: Loader, write_csv: WriteCsv) -> None:
    folder = write_csv(*reviews(10), name="data/train.csv").parent
    write_csv("known,label 1", "unknown,label 7", "other,label 00", "unknown too,label 7", name="data/test.csv")
    splits = load(folder, unseen_labels="count_as_wrong")
    assert splits.task.label_names == ("label 0", "label 1")
    assert splits.task.unseen_labels == ("label 00", "label 7")
    assert list(splits.test["label"]) == [1, 3, 2, 3]  # codes of unseen labels follow those of the training labels
    assert splits.num_unseen["test"] == 3
    assert len(splits.task.label_counts) == 2
    assert load.reported("Warning:", "3 of 4 test rows", "'label 00', 'label 7'")
    write_csv("unknown,label 7", "unknown too,label 7", name="data/test.csv")
    with pytest.raises(ValueError, match=r"Every test row .*2 in total"):
        load(folder, unseen_labels="count_as_wrong")


def test_unseen_labels_cannot_count_as_wrong_in_multi_label_tasks(load: Loader, write_jsonl: WriteJsonl) -> None:
    rows = [{"text": f"review {row}", "label": ["a", "b"][: row % 3]} for row in range(40)]
    folder = write_jsonl(rows, "data/train.jsonl").parent
    write_jsonl([{"text": "new", "label": ["c"]}, {"text": "known", "label": ["a"]}], "data/test.jsonl")
    with pytest.raises(ValueError, match=r"--unseen_labels count_as_wrong .*'c'.*--unseen_labels skip"):
        load(folder, unseen_labels="count_as_wrong")
    assert len(load(folder, unseen_labels="skip").test) == 1


def test_all_unseen_labels_of_a_row_are_reported(load: Loader, write_jsonl: WriteJsonl) -> None:
    folder = write_jsonl(rows_with_labels(["a"], ["b"]), name="data/train.jsonl").parent
    write_jsonl([{"text": "x", "label": ["a", "c", "d"]}], name="data/test.jsonl")
    with pytest.raises(ValueError, match=in_order("test.jsonl, row 1: ", "'c', 'd'", "--unseen_labels")):
        load(folder)


def test_declared_label_without_training_rows_is_unseen(load: Loader, tmp_path: Path) -> None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["a", "b", "c"])})
    (tmp_path / "data").mkdir()
    for name, labels in (("train", [0, 1] * 10), ("test", [0, 2, -1])):
        rows = {"text": [f"{name} {row}" for row in range(len(labels))], "label": labels}
        Dataset.from_dict(rows, features).to_parquet(str(tmp_path / "data" / f"{name}.parquet"))
    with pytest.raises(ValueError, match=in_order("row 2: ", "'c'", "--unseen_labels", "row 3: missing label")):
        load(tmp_path / "data")
    assert load(tmp_path / "data", bad_rows="skip").task.label_names == ("a", "b", "c")


def test_check_and_stratify_uses_the_rarest_label_as_stratum(ingest_labels: IngestLabels) -> None:
    train = ingest_labels(["a"], ["a"], ["a", "b"], ["b", "c"], [])
    encoder = learn_labels(train, COLUMNS, None)
    usable, strata = encoder.check_and_stratify(train, BadRows("error"), BadRows("error"))
    assert usable.all()
    assert strata.tolist() == [0, 0, 1, 2, 3]  # rows without labels form a separate stratum


def test_encoded_labels_can_be_counted_by_a_tally(ingest_labels: IngestLabels) -> None:
    single_label = learn_labels(ingest_labels("a", "b"), COLUMNS, None)
    codes = single_label.encode_labels(pa.array([["b"], ["a"], ["b"]]))
    assert codes.to_pylist() == [1, 0, 1]
    multi_label = learn_labels(ingest_labels(["a"], ["b", "a"]), COLUMNS, None)
    code_lists = multi_label.encode_labels(pa.array([["b", "a"], [], ["a"]], pa.list_(pa.string())))
    assert code_lists.to_pylist() == [[1, 0], [], [0]]
    for encoder, labels, counts in ((single_label, codes, [1, 2]), (multi_label, code_lists, [2, 1])):
        tally = encoder.create_tally()
        tally.add("train", labels)
        assert tally.facts("train")["label_counts"] == counts


def test_marks_of_missing_labels_may_be_real_labels_only_if_training_rows_have_one_of_them(
    ingest_labels: IngestLabels,
) -> None:
    train = ingest_labels("-1", "1", "none")
    encoder = learn_labels(train, COLUMNS, None)
    assert encoder.may_be_real_labels({"none", "null"}, train)
    assert not encoder.may_be_real_labels({"null", "-2"}, train)

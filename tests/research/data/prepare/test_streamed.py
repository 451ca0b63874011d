"""Labels of streamed rows are those of the validation rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from research.data.prepare.load import Splits
from research.data.streaming.read_buffers import read_buffers
from tests.messages import in_order
from tests.research.data.conftest import Loader

WriteSplits = Callable[..., Path]


@pytest.fixture
def write_splits(tmp_path: Path) -> WriteSplits:
    """Return a function that writes a file with the given columns for each split."""

    def write(**splits: dict[str, list[Any]]) -> Path:
        for split, columns in splits.items():
            num_rows = len(next(iter(columns.values())))
            texts = {} if "question" in columns else {"text": [f"{split} text {row}" for row in range(num_rows)]}
            pq.write_table(pa.table(texts | columns), tmp_path / f"{split}.parquet", row_group_size=3)
        return tmp_path

    return write


def stream_labels(splits: Splits) -> list[Any]:
    """Return the labels of the training rows, in the order of their ids."""
    return [label for _, label in sorted(read_rows(splits))]


def read_rows(splits: Splits) -> Iterator[tuple[int, Any]]:
    """Yield the id and the label of each training row."""
    assert splits.streamed is not None
    for buffer in read_buffers(splits.streamed, 4, seed=0, epoch=0, first=0):
        buffer.bad.raise_or_summarize(buffer.num_read)
        yield from zip(buffer.ids.tolist(), buffer.labels, strict=True)


@pytest.mark.parametrize(
    ("labels", "settings"),
    [
        (["a", "b", "a", "c", "b", "a"], {}),
        ([3, 10, 3, 7, 7, 10], {}),
        ([1.5, -2.0, 0.25, 4.0, 9.0, 1.0], {}),
        ([1, 2, 3, 4, 5, 1], {"task": "regression"}),
        ([["a", "b"], [], ["b"], ["c"], ["a"], ["c", "a"]], {}),
        ([[1, 0, 1], [0, 0, 0], [0, 1, 1], [1, 1, 1], [0, 0, 1], [1, 0, 0]], {}),
        (["a;b", "c", "b;a", "a", "c", "b"], {"label_separator": ";"}),
    ],
)
def test_labels_are_encoded_as_prepared_ones(
    load: Loader, write_splits: WriteSplits, labels: list[Any], settings: dict[str, Any]
) -> None:
    folder = write_splits(train={"label": labels}, validation={"label": labels[::-1]}, test={"label": labels})
    prepared, streamed = load(folder, **settings), load(folder, streaming=True, **settings)
    assert stream_labels(streamed) == prepared.train["label"][:]
    assert type(streamed.task) is type(prepared.task)
    assert streamed.task.label_names == prepared.task.label_names
    assert streamed.task.label_counts == prepared.task.label_counts
    assert (streamed.task.score_mean, streamed.task.score_std) == (prepared.task.score_mean, prepared.task.score_std)
    assert (streamed.task.counted_split, prepared.task.counted_split) == ("validation", "train")


def test_pairs_and_several_label_columns_are_read(load: Loader, write_splits: WriteSplits) -> None:
    columns = {"question": ["a?", "b?"], "answer": ["a", "b"], "joy": [1, 0], "fear": [1, 1]}
    folder = write_splits(train=columns, validation=columns, test=columns)
    settings = {"text_column": "question", "text_pair_column": "answer", "label_column": "joy,fear"}
    splits = load(folder, streaming=True, **settings)
    assert splits.has_pairs
    assert stream_labels(splits) == load(folder, **settings).train["label"][:] == [[0, 1], [1]]


def test_columns_and_statistics_come_from_files_that_have_them(load: Loader, write_splits: WriteSplits) -> None:
    folder = write_splits(
        train={"label": ["a", "b", "b"]}, validation={"label": ["a", "b", "b", "b"]}, test={"label": ["a"]}
    )
    task = load(folder, streaming=True).task
    assert (task.label_counts, task.num_train) == ((1, 3), 4)


def test_declared_label_names_are_used_even_if_the_validation_rows_lack_one(load: Loader, tmp_path: Path) -> None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["x", "y", "z"])})
    for split, labels in {"train": [2, 0, 1, 2], "validation": [0, 1, 0], "test": [2, 2]}.items():
        rows = {"text": [f"{split} {row}" for row in range(len(labels))], "label": labels}
        Dataset.from_dict(rows, features).to_parquet(tmp_path / f"{split}.parquet")
    splits = load(tmp_path, streaming=True)
    assert splits.task.label_names == ("x", "y", "z")
    assert stream_labels(splits) == [2, 0, 1, 2]
    assert load.reported("labels have no row in validation", "z")
    assert splits.num_unseen == {"train": 0, "validation": 0, "test": 0}


def test_a_label_that_only_training_rows_have_is_named_by_file_and_row(load: Loader, write_splits: WriteSplits) -> None:
    folder = write_splits(
        train={"label": ["a", "b", "c"]}, validation={"label": ["a", "b"]}, test={"label": ["a", "b"]}
    )
    with pytest.raises(ValueError, match=in_order("train.parquet, row 3", "'c'", "validation rows", "--streaming")):
        stream_labels(load(folder, streaming=True))


def test_a_label_that_only_test_rows_have_is_an_error(load: Loader, write_splits: WriteSplits) -> None:
    folder = write_splits(train={"label": ["a", "b"]}, validation={"label": ["a", "b"]}, test={"label": ["c"]})
    with pytest.raises(ValueError, match=in_order("test.parquet, row 1", "'c'", "validation rows")):
        load(folder, streaming=True)


@pytest.mark.parametrize("in_train", [True, False])
def test_lists_in_one_split_only_are_refused(load: Loader, write_splits: WriteSplits, in_train: bool) -> None:
    single, lists = {"label": ["a", "b", "a"]}, {"label": [["a"], ["b"], ["a"]]}
    folder = write_splits(
        train=lists if in_train else single,
        validation=single if in_train else lists,
        test=single if in_train else lists,
    )
    with pytest.raises(ValueError, match="the same form in all rows"):
        stream_labels(load(folder, streaming=True))


@pytest.mark.parametrize("train_declares", [True, False])
def test_names_that_only_one_split_declares_are_refused(load: Loader, tmp_path: Path, train_declares: bool) -> None:
    declared = Features({"text": Value("string"), "label": ClassLabel(names=["0", "1"])})
    undeclared = Features({"text": Value("string"), "label": Value("int64")})
    for split in ("train", "validation", "test"):
        rows = {"text": [f"{split} a", f"{split} b"], "label": [0, 1]}
        features = declared if (split == "train") == train_declares else undeclared
        Dataset.from_dict(rows, features).to_parquet(tmp_path / f"{split}.parquet")
    with pytest.raises(ValueError, match=in_order("train.parquet", "label names", "both with label names")):
        load(tmp_path, streaming=True)


def test_a_shard_without_a_column_is_refused(load: Loader, write_splits: WriteSplits) -> None:
    folder = write_splits(validation={"label": ["a", "b"]}, test={"label": ["a"]})
    for number, column in enumerate(("label", "lable")):
        path = folder / f"train-{number:05d}-of-00002.parquet"
        pq.write_table(pa.table({"text": ["x"], column: ["a"]}), path)
    with pytest.raises(ValueError, match=in_order("train-00001-of-00002.parquet", "'label'")):
        load(folder, streaming=True)


def test_files_without_rows_are_refused(load: Loader, write_splits: WriteSplits) -> None:
    folder = write_splits(validation={"label": ["a", "b"]}, test={"label": ["a"]})
    schema = pa.schema([("text", pa.string()), ("label", pa.string())])
    pq.write_table(schema.empty_table(), folder / "train.parquet")
    with pytest.raises(ValueError, match="no rows for train"):
        load(folder, streaming=True)


def test_an_unlabelled_test_split_is_accepted(load: Loader, write_splits: WriteSplits) -> None:
    folder = write_splits(train={"label": ["a", "b"]}, validation={"label": ["a", "b"]}, test={"other": ["x", "y"]})
    splits = load(folder, streaming=True)
    assert splits.unlabelled == ("test",)
    assert splits.num_train == 2

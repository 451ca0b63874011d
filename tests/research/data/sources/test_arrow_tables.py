"""Read parquet files that different programs wrote: with columns of any type, with invalid metadata, or damaged."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value

from research.data.sources.bad_rows import BadRowsError
from tests.messages import in_order
from tests.research.data.conftest import Loader
from tests.research.data.loaded_rows import rows_in

NUM_ROWS = 40
TEXTS = [f"review number {row}" for row in range(NUM_ROWS)]
LABELS = [row % 2 for row in range(NUM_ROWS)]
WriteParquet = Callable[..., Path]


@pytest.fixture
def write_parquet(tmp_path: Path) -> WriteParquet:
    """Return a function that writes a parquet file with texts, labels and the given columns."""

    def write_columns(*, metadata: dict[str, str] | None = None, **columns: Any) -> Path:
        table = pa.table({"text": TEXTS, "label": LABELS, **columns}).replace_schema_metadata(metadata)
        try:
            pq.write_table(table, tmp_path / "reviews.parquet")
        except pa.ArrowNotImplementedError as error:
            pytest.skip(f"pyarrow {pa.__version__} cannot write this file: {error}")
        return tmp_path / "reviews.parquet"

    return write_columns


@pytest.mark.parametrize(
    "unused",
    [
        pa.array([[("key", row)] for row in range(NUM_ROWS)], pa.map_(pa.string(), pa.int64())),
        pa.array([[row] for row in range(NUM_ROWS)], pa.list_view(pa.int64())),
        pa.array(pd.period_range("2024-01", periods=NUM_ROWS, freq="M")),
        pa.array([np.float16(row) for row in range(NUM_ROWS)]),
        pa.array(range(NUM_ROWS), pa.duration("ns")),
    ],
    ids=lambda array: str(array.type),
)
def test_parquet_ignores_unused_columns_of_any_type(
    load: Loader, write_parquet: WriteParquet, unused: pa.Array
) -> None:
    splits = load(write_parquet(unused=unused))
    assert sorted(row["text"] for _, split in splits.items() for row in split) == sorted(TEXTS)


@pytest.mark.parametrize("content", ["not JSON", "[]", '{"info": {"features": {"label": {"_type": "ClassLabel"}}}}'])
def test_parquet_reports_and_ignores_invalid_metadata(load: Loader, write_parquet: WriteParquet, content: str) -> None:
    splits = load(write_parquet(metadata={"huggingface": content}))
    assert splits.task.label_names == ("0", "1")
    assert load.reported("Warning:", "metadata of reviews.parquet")


@pytest.mark.parametrize("missing_rows", [[], [7]])
def test_declared_names_apply_to_ids_stored_as_floats(
    load: Loader, write_parquet: WriteParquet, missing_rows: list[int]
) -> None:
    features = {"label": {"_type": "ClassLabel", "names": ["neg", "pos"]}}
    labels = [None if row in missing_rows else float(label) for row, label in enumerate(LABELS)]
    path = write_parquet(metadata={"huggingface": json.dumps({"info": {"features": features}})}, label=labels)
    splits = load(path, bad_rows="skip")
    assert splits.task.label_names == ("neg", "pos")
    assert [(item.reason, item.rows) for item in splits.skipped_rows] == [("missing label", 1)] * len(missing_rows)
    expected = {
        text: label for row, (text, label) in enumerate(zip(TEXTS, LABELS, strict=True)) if row not in missing_rows
    }
    assert {row["text"]: row["label"] for _, split in splits.items() for row in split} == expected


def test_label_name_that_is_not_declared_is_a_bad_row(load: Loader, write_parquet: WriteParquet) -> None:
    features = {"label": {"_type": "ClassLabel", "names": ["neg", "pos"]}}
    labels = [("neg", "pos", "new")[row % 3] for row in range(NUM_ROWS)]
    path = write_parquet(metadata={"huggingface": json.dumps({"info": {"features": features}})}, label=labels)
    with pytest.raises(BadRowsError, match=in_order("13 bad rows of 40: ", "row 3: ", "'new'")):
        load(path)


def test_times_that_python_cannot_represent_are_bad_rows(load: Loader, write_parquet: WriteParquet) -> None:
    # The labels are times. All rows are bad, because no time is a valid label, even if Python can represent it (0).
    times = pa.array([0, 2**60] * (NUM_ROWS // 2), pa.timestamp("ms"))
    with pytest.raises(BadRowsError, match=in_order("40 bad rows of 40: ", "row 2: ", "timestamp[ms]")):
        load(write_parquet(label=times))


def test_parquet_damaged_in_the_middle_is_refused(load: Loader, tmp_path: Path) -> None:
    file = io.BytesIO()
    pq.write_table(pa.table({"text": TEXTS, "label": LABELS}), file, compression="none")
    content = bytearray(file.getvalue())
    start = pq.read_metadata(io.BytesIO(content)).row_group(0).column(0).data_page_offset
    content[start : start + 16] = b"\xff" * 16  # the header of the first page of texts
    (tmp_path / "reviews.parquet").write_bytes(content)
    with pytest.raises(ValueError, match=r"reviews\.parquet: .*damaged \(.*\)\.$"):
        load(tmp_path / "reviews.parquet")


def test_parquet_with_a_wrong_page_checksum_is_refused(load: Loader, tmp_path: Path) -> None:
    path = tmp_path / "reviews.parquet"
    table = pa.table({"text": TEXTS, "label": LABELS})
    pq.write_table(table, path, compression="none", use_dictionary=False, write_page_checksum=True)
    path.write_bytes(path.read_bytes().replace(b"review number 7", b"review nunber 7", 1))  # changes one letter
    with pytest.raises(ValueError, match=r"reviews\.parquet: .*damaged \(.*checksum"):
        load(path)


def test_file_that_is_not_parquet_is_refused(load: Loader, tmp_path: Path) -> None:
    (tmp_path / "reviews.parquet").write_text("text,label")
    with pytest.raises(ValueError, match=r"reviews\.parquet .*parquet file"):
        load(tmp_path / "reviews.parquet")


def test_parquet_reports_the_row_with_invalid_utf8(load: Loader, tmp_path: Path) -> None:
    texts = pa.array([b"good", b"caf\xe9", b"fine"] * 10)
    # Reinterpreting the binary buffers as strings skips the UTF-8 check, as some writers of parquet files do.
    texts = pa.StringArray.from_buffers(len(texts), texts.buffers()[1], texts.buffers()[2])
    pq.write_table(pa.table({"text": texts, "label": ["a", "b", "a"] * 10}), tmp_path / "reviews.parquet")
    with pytest.raises(BadRowsError, match=in_order("10 bad rows of 30: ", "reviews.parquet, row 2: invalid UTF-8")):
        load(tmp_path / "reviews.parquet")


def test_parquet_keeps_declared_label_names(load: Loader, tmp_path: Path) -> None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["pos", "neg"])})
    rows = {"text": [f"review {row}" for row in range(40)], "label": [row % 2 for row in range(40)]}
    path = tmp_path / "reviews.parquet"
    Dataset.from_dict(rows, features).to_parquet(str(path))
    splits = load(path)
    assert splits.task.label_names == ("pos", "neg")
    assert dict(rows_in(splits))["review 1"] == 1


def test_parquet_keeps_declared_names_of_multi_label_rows(load: Loader, tmp_path: Path) -> None:
    features = Features({"text": Value("string"), "labels": List(ClassLabel(names=["z", "a"]))})
    rows = {"text": [f"review {row}" for row in range(40)], "labels": [[0], [0, 1], [], [1]] * 10}
    path = tmp_path / "reviews.parquet"
    Dataset.from_dict(rows, features).to_parquet(str(path))
    splits = load(path)
    assert splits.task.name == "multi_label"
    assert splits.task.label_names == ("z", "a")
    assert dict(rows_in(splits))["review 1"] == [0, 1]
    assert dict(rows_in(splits))["review 2"] == []


def test_parquet_reads_dictionary_and_large_string_columns(load: Loader, tmp_path: Path) -> None:
    path = tmp_path / "reviews.parquet"
    texts = pa.array([f"review {row}" for row in range(40)]).cast(pa.large_string())
    labels = pa.array(["a", "b"] * 20).dictionary_encode()
    pq.write_table(pa.table({"id": list(range(40)), "body": texts, "label": labels}), path)
    assert load(path, text_column="body").task.label_names == ("a", "b")

"""Write rows to Arrow files in batches of limited size, read them back, and hash them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from datasets import Dataset

from research.data.prepare.arrow import BATCH_BYTES, BATCH_ROWS, RowWriter, hash_rows, read_batches, read_dataset

SCHEMA = pa.schema({"text": pa.string(), "id": pa.int64()})


def test_row_writer_keeps_the_order_of_rows_and_batches(tmp_path: Path) -> None:
    with RowWriter(tmp_path / "rows.arrow", SCHEMA) as writer:
        writer.append(("a", 0), num_bytes=1)
        writer.append_batch(pa.record_batch({"text": ["b", None], "id": [1, 2]}, schema=SCHEMA))
        writer.append((None, 3), num_bytes=1)
    (batch,) = read_batches(tmp_path / "rows.arrow")
    assert batch.schema == SCHEMA
    assert batch.to_pydict() == {"text": ["a", "b", None, None], "id": [0, 1, 2, 3]}


def test_row_writer_without_rows_writes_the_schema(tmp_path: Path) -> None:
    with RowWriter(tmp_path / "rows.arrow", SCHEMA):
        pass
    assert list(read_batches(tmp_path / "rows.arrow")) == []
    assert Dataset.from_file(str(tmp_path / "rows.arrow")).column_names == ["text", "id"]


@pytest.mark.parametrize(("num_bytes", "rows_per_batch"), [(1, BATCH_ROWS), (BATCH_BYTES // 4, 4)])
def test_row_writer_limits_the_rows_and_bytes_of_a_batch(tmp_path: Path, num_bytes: int, rows_per_batch: int) -> None:
    num_rows = 2 * rows_per_batch + 1  # the writer does not measure rows, but adds up the given numbers of bytes
    with RowWriter(tmp_path / "rows.arrow", SCHEMA) as writer:
        for row in range(num_rows):
            writer.append(("x", row), num_bytes)
    batches = list(read_batches(tmp_path / "rows.arrow"))
    assert [batch.num_rows for batch in batches] == [rows_per_batch, rows_per_batch, 1]
    assert [row for batch in batches for row in batch.column("id").to_pylist()] == list(range(num_rows))


def test_row_writer_closes_the_file_after_an_error(tmp_path: Path) -> None:
    def write() -> None:
        with RowWriter(tmp_path / "rows.arrow", SCHEMA) as writer:
            writer.append(("a", 0), num_bytes=1)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        write()
    assert list(read_batches(tmp_path / "rows.arrow")) == []


def test_read_dataset_yields_rows_in_order(tmp_path: Path) -> None:
    with RowWriter(tmp_path / "rows.arrow", SCHEMA) as writer:
        for row in range(5):
            writer.append((f"text {row}", row), num_bytes=1)
    all_rows = Dataset.from_file(str(tmp_path / "rows.arrow"))
    for dataset, ids in ((all_rows, [0, 1, 2, 3, 4]), (all_rows.select([3, 1]), [3, 1])):
        assert [row for batch in read_dataset(dataset) for row in batch.column("id").to_pylist()] == ids


def test_hash_rows_depends_on_rows_columns_and_list_lengths() -> None:
    rows = {"id": [0, 1, 2], "input_ids": [[1, 2], [3], []]}
    expected = hash_rows([Dataset.from_dict(rows)])
    assert hash_rows([Dataset.from_dict(rows).select([0, 1, 2])]) == expected
    assert hash_rows([Dataset.from_dict({**rows, "more": [1, 1, 1]})], ["id", "input_ids"]) == expected
    changed = [
        [Dataset.from_dict({"id": [0, 1, 2], "input_ids": [[1], [2, 3], []]})],
        [Dataset.from_dict({"id": [0, 1, 3], "input_ids": rows["input_ids"]})],
        [Dataset.from_dict(rows).select([1, 0, 2])],
        [Dataset.from_dict(rows).select([0]), Dataset.from_dict(rows).select([1, 2])],  # the same rows in two splits
        [Dataset.from_dict(rows).rename_column("id", "number")],
    ]
    assert len({expected, *map(hash_rows, changed)}) == 1 + len(changed)

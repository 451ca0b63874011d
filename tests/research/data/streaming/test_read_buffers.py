"""Read the rows of buffers, and only these."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from research.data.prepare.load import Splits
from research.data.prepare.streamed import StreamedRows
from research.data.sources.bad_rows import BadRowsError
from research.data.streaming.checked_rows import CheckedRows
from research.data.streaming.pieces import NUM_OPEN_ROW_GROUPS, divide_into_buffers
from research.data.streaming.read_buffers import read_buffers
from tests.builders.parquet_shards import NUM_TRAIN, write_review_shards
from tests.messages import in_order
from tests.research.data.conftest import Loader
from tests.research.data.streaming.conftest import LoadStreamed

BUFFER_SIZE = 20


def read_all(
    splits: Splits, *, seed: int = 0, epoch: int = 0, first: int = 0, buffer_size: int = BUFFER_SIZE
) -> list[CheckedRows]:
    """Return the rows of all buffers of an epoch, or of those from number `first` on."""
    rows = splits.streamed
    assert rows is not None
    return list(read_buffers(rows, buffer_size, seed, epoch, first=first))


def test_an_epoch_contains_the_rows_that_preparing_them_gives(
    load: Loader, load_streamed: LoadStreamed, shards: Path
) -> None:
    prepared = load(shards).train
    rows = [
        (int(row_id), text, label)
        for buffer in read_all(load_streamed(shards))
        for row_id, text, label in zip(buffer.ids, buffer.texts[0], buffer.labels, strict=True)
    ]
    assert sorted(rows) == list(zip(prepared["id"], prepared["text"], prepared["label"], strict=True))
    assert len(rows) == NUM_TRAIN


def test_a_buffer_has_the_rows_of_its_pieces_in_order(load_streamed: LoadStreamed, shards: Path) -> None:
    splits = load_streamed(shards)
    assert splits.streamed is not None
    groups, first_ids = splits.streamed.row_groups, splits.streamed.first_ids
    sizes = [group.num_rows for group in groups]
    buffers = read_all(splits, seed=5, epoch=2)
    for pieces, buffer in zip(divide_into_buffers(sizes, BUFFER_SIZE, 5, 2), buffers, strict=True):
        expected = [
            first_ids[groups[piece.row_group].table] + groups[piece.row_group].first_row + row
            for piece in pieces
            for row in range(piece.start, piece.stop)
        ]
        assert buffer.ids.tolist() == expected


@pytest.mark.parametrize("row_group_size", [5, 1000])
def test_reading_from_a_later_buffer_gives_the_same_buffers(
    load_streamed: LoadStreamed, tmp_path: Path, row_group_size: int
) -> None:
    splits = load_streamed(write_review_shards(tmp_path / "data", row_group_size=row_group_size))
    buffers = read_all(splits)
    for first in range(len(buffers) + 1):
        later = read_all(splits, first=first)
        assert [buffer.ids.tolist() for buffer in later] == [buffer.ids.tolist() for buffer in buffers[first:]]
        assert [buffer.texts for buffer in later] == [buffer.texts for buffer in buffers[first:]]


def overwrite_row_groups(rows: StreamedRows, folder: Path, row_groups: set[int]) -> None:
    """Overwrite the rows of some row groups with bytes that cannot be read; the footers stay."""
    for number in row_groups:
        group = rows.row_groups[number]
        path = folder / rows.tables[group.table].name
        columns = pq.read_metadata(path).row_group(group.index)
        content = bytearray(path.read_bytes())
        for index in range(columns.num_columns):
            column = columns.column(index)
            start = column.dictionary_page_offset or column.data_page_offset
            content[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
        path.write_bytes(content)


def test_row_groups_of_earlier_buffers_are_not_read(load_streamed: LoadStreamed, tmp_path: Path) -> None:
    size = NUM_OPEN_ROW_GROUPS * 5
    folder = write_review_shards(tmp_path / "data", num_train=size * 4, row_group_size=5)
    splits = load_streamed(folder)
    rows = splits.streamed
    assert rows is not None
    buffers = read_all(splits, buffer_size=size)
    pieces = list(divide_into_buffers([group.num_rows for group in rows.row_groups], size, 0, 0))
    later = {piece.row_group for piece in itertools.chain.from_iterable(pieces[2:])}
    earlier = set(range(len(rows.row_groups))) - later
    assert len(earlier) > NUM_OPEN_ROW_GROUPS
    overwrite_row_groups(rows, folder, earlier)
    resumed = read_all(splits, first=2, buffer_size=size)
    assert [buffer.ids.tolist() for buffer in resumed] == [buffer.ids.tolist() for buffer in buffers[2:]]
    with pytest.raises(ValueError, match="it is damaged"):
        read_all(splits, first=1, buffer_size=size)


def test_bad_rows_are_named_by_file_and_row(load_streamed: LoadStreamed, tmp_path: Path) -> None:
    labels = ["negative", "positive"] * 47
    labels[40] = "neutral"
    labels[93] = None  # type: ignore[call-overload]
    folder = write_review_shards(tmp_path / "data", train=labels)
    buffers = read_all(load_streamed(folder, bad_rows="skip"))
    assert sum(len(buffer) for buffer in buffers) == NUM_TRAIN - 2
    assert sum(buffer.num_read for buffer in buffers) == NUM_TRAIN
    messages = [message for buffer in buffers if (message := buffer.bad.raise_or_summarize(buffer.num_read))]
    assert len(messages) == 2
    # Each of the first two shards has 32 rows.
    assert [message for message in messages if "00001-of-00003.parquet, row 9: the label 'neutral'" in message]
    assert [message for message in messages if "00002-of-00003.parquet, row 30: missing label" in message]
    for buffer in read_all(load_streamed(folder)):
        if buffer.bad.count:
            with pytest.raises(BadRowsError, match=in_order("1 bad row of", "--bad_rows skip")):
                buffer.bad.raise_or_summarize(buffer.num_read)


def test_lengths_are_numbers_of_characters_of_cleaned_texts(load_streamed: LoadStreamed, shards: Path) -> None:
    for buffer in read_all(load_streamed(shards, cleaning=["collapse_whitespace"])):
        assert buffer.lengths.tolist() == [len(text) for text in buffer.texts[0]]
        assert buffer.lengths.dtype == np.int32


def test_a_file_that_became_shorter_is_an_error(load_streamed: LoadStreamed, tmp_path: Path) -> None:
    folder = write_review_shards(tmp_path / "data", row_group_size=1000)
    splits = load_streamed(folder)
    path = folder / "train-00001-of-00003.parquet"
    pq.write_table(pq.read_table(path).slice(0, 29), path)
    with pytest.raises(ValueError, match=in_order("train-00001-of-00003.parquet", "fewer rows", "resume")):
        read_all(splits)

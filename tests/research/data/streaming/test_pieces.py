"""Order of the rows of parquet files, computed from the sizes of their row groups."""

from __future__ import annotations

import itertools

import pytest

from research.data.streaming.pieces import NUM_OPEN_ROW_GROUPS, Piece, divide_into_buffers

SIZES = [1000] * 40 + [1, 7, 333, 20_000]
"""Sizes of row groups: many that are smaller than a buffer, and one that is larger."""
TOTAL = sum(SIZES)


def rows_of(pieces: list[Piece]) -> list[tuple[int, int]]:
    """Return (row group, row) for all rows of some pieces."""
    return [(piece.row_group, row) for piece in pieces for row in range(piece.start, piece.stop)]


@pytest.mark.parametrize("buffer_size", [1, 17, 1600, 4096, TOTAL, TOTAL + 1])
def test_buffers_contain_each_row_once_and_all_but_the_last_are_full(buffer_size: int) -> None:
    sizes = SIZES if buffer_size > 1 else [3, 1, 4]
    buffers = list(divide_into_buffers(sizes, buffer_size, seed=3, epoch=1))
    rows = [row for pieces in buffers for row in rows_of(pieces)]
    assert sorted(rows) == [(group, row) for group, size in enumerate(sizes) for row in range(size)]
    lengths = [sum(map(len, pieces)) for pieces in buffers]
    assert lengths[:-1] == [buffer_size] * (len(buffers) - 1)
    assert lengths[-1] == (sum(sizes) % buffer_size or buffer_size)


def test_buffers_depend_on_seed_and_epoch() -> None:
    first = list(divide_into_buffers(SIZES, 4096, seed=3, epoch=0))
    assert first == list(divide_into_buffers(SIZES, 4096, seed=3, epoch=0))
    assert first != list(divide_into_buffers(SIZES, 4096, seed=3, epoch=1))
    assert first != list(divide_into_buffers(SIZES, 4096, seed=4, epoch=0))


def test_pieces_of_a_row_group_are_in_order() -> None:
    pieces = itertools.chain.from_iterable(divide_into_buffers(SIZES, 4096, seed=0, epoch=0))
    stops = [0] * len(SIZES)
    for piece in pieces:
        assert piece.start == stops[piece.row_group]
        stops[piece.row_group] = piece.stop
    assert stops == SIZES


def test_a_buffer_has_rows_of_many_row_groups_even_if_each_is_larger_than_the_buffer() -> None:
    # The last buffers have rows of fewer row groups, because all rows of the other row groups have been read.
    buffers = list(divide_into_buffers([100_000] * 32, 16_000, seed=0, epoch=0))
    num_groups = [len({piece.row_group for piece in pieces}) for pieces in buffers]
    assert len(buffers) == 200
    assert num_groups == [NUM_OPEN_ROW_GROUPS] * 200


def test_no_more_than_a_fixed_number_of_row_groups_are_read_at_the_same_time() -> None:
    opened: set[int] = set()
    for piece in itertools.chain.from_iterable(divide_into_buffers(SIZES * 5, 1600, seed=0, epoch=0)):
        opened.add(piece.row_group)
        assert len(opened) <= NUM_OPEN_ROW_GROUPS
        if piece.stop == (SIZES * 5)[piece.row_group]:
            opened.remove(piece.row_group)

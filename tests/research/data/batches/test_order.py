"""Group rows into global batches, and split each batch among the processes."""

import numpy as np
import pytest

from research.data.batches.order import buffer_batches, evaluation_batches, global_batches, split_batch

LENGTHS = np.random.default_rng(0).integers(5, 900, size=1013).astype(np.int32)
"""Numbers of tokens of 1013 rows."""


def test_global_batches_contain_each_row_once() -> None:
    batches = global_batches(LENGTHS, 32, seed=3, epoch=0)
    assert sorted(np.concatenate(batches)) == list(range(1013))
    assert [len(batch) for batch in batches] == [32] * 31 + [21]


def test_global_batches_depend_on_seed_and_epoch() -> None:
    first = np.concatenate(global_batches(LENGTHS, 32, seed=3, epoch=0))
    assert np.array_equal(first, np.concatenate(global_batches(LENGTHS, 32, seed=3, epoch=0)))
    assert not np.array_equal(first, np.concatenate(global_batches(LENGTHS, 32, seed=3, epoch=1)))
    assert not np.array_equal(first, np.concatenate(global_batches(LENGTHS, 32, seed=4, epoch=0)))


def test_global_batches_do_not_change_the_global_random_state() -> None:
    np.random.seed(0)
    expected = np.random.RandomState(0).rand()
    global_batches(LENGTHS, 32, seed=3, epoch=0)
    assert np.random.rand() == expected


def test_global_batches_group_rows_of_similar_length() -> None:
    # Numbers of tokens with padding: each row of a batch is padded to the length of its longest row.
    num_tokens_grouped = sum(
        len(batch) * LENGTHS[batch].max() for batch in global_batches(LENGTHS, 16, seed=0, epoch=0)
    )
    shuffled = np.random.default_rng(0).permutation(1013)
    num_tokens_shuffled = sum(
        len(part) * LENGTHS[part].max() for part in (shuffled[start : start + 16] for start in range(0, 1013, 16))
    )
    # Grouping adds less than 15% of padding, shuffling more than 50%.
    assert num_tokens_grouped < 1.15 * LENGTHS.sum() < 1.5 * LENGTHS.sum() < num_tokens_shuffled


def test_global_batches_are_not_sorted_by_length() -> None:
    means = [LENGTHS[batch].mean() for batch in global_batches(LENGTHS, 16, seed=0, epoch=0)]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.4


@pytest.mark.parametrize("num_rows", [1, 3, 4])
def test_few_rows_form_a_single_global_batch(num_rows: int) -> None:
    (batch,) = global_batches(LENGTHS[:num_rows], 4, seed=0, epoch=0)
    assert sorted(batch) == list(range(num_rows))


def test_buffer_batches_depend_on_seed_epoch_and_buffer() -> None:
    first = np.concatenate(buffer_batches(LENGTHS, 1013, 32, seed=3, epoch=1, buffer=2))
    assert np.array_equal(first, np.concatenate(buffer_batches(LENGTHS, 1013, 32, seed=3, epoch=1, buffer=2)))
    for seeds in ((4, 1, 2), (3, 0, 2), (3, 1, 0)):
        assert not np.array_equal(first, np.concatenate(buffer_batches(LENGTHS, 1013, 32, *seeds)))


@pytest.mark.parametrize("num_read", [1013, 1024, 1014, 1100, 2000])
def test_buffer_batches_divide_the_usable_rows_evenly_among_as_many_batches_as_without_bad_rows(num_read: int) -> None:
    batches = buffer_batches(LENGTHS, num_read, 32, seed=0, epoch=0, buffer=0)
    assert sorted(np.concatenate(batches)) == list(range(1013))
    assert len(batches) == -(-num_read // 32)
    if num_read == 1013:  # no bad rows
        assert [len(batch) for batch in batches] == [32] * 31 + [21]
    else:
        assert {len(batch) for batch in batches} <= {1013 // len(batches), 1013 // len(batches) + 1}


def test_buffer_batches_group_rows_of_similar_length_with_and_without_bad_rows() -> None:
    for num_read in (1013, 1100):
        batches = buffer_batches(LENGTHS, num_read, 16, seed=0, epoch=0, buffer=0)
        assert sum(len(batch) * LENGTHS[batch].max() for batch in batches) < 1.15 * LENGTHS.sum()


def test_buffer_batches_refuse_fewer_usable_rows_than_batches() -> None:
    with pytest.raises(ValueError, match="only 3 of 97 rows"):
        buffer_batches(LENGTHS[:3], 97, 32, seed=0, epoch=0, buffer=0)


@pytest.mark.parametrize("num_rows", [1, 2, 5, 16, 31, 32])
@pytest.mark.parametrize("num_processes", [1, 2, 3, 4])
@pytest.mark.parametrize("micro_batch_size", [1, 3, 8, 32])
def test_split_batch_assigns_each_row_once_and_the_same_number_of_rows_to_each_process(
    num_rows: int, num_processes: int, micro_batch_size: int
) -> None:
    batch = np.arange(100, 100 + num_rows)
    parts = [split_batch(batch, process, num_processes, micro_batch_size) for process in range(num_processes)]
    sizes = [[len(micro_batch.rows) for micro_batch in part] for part in parts]
    assert all(size == sizes[0] for size in sizes)
    assert max(sizes[0]) <= micro_batch_size
    # Rows with weight 0 only fill up micro-batches.
    rows = [int(row) for part in parts for micro_batch in part for row in micro_batch.rows[micro_batch.weights == 1]]
    assert sorted(rows) == list(batch)


@pytest.mark.parametrize("num_processes", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [1, 7, 64, 2000])
def test_evaluation_batches_of_all_processes_contain_each_row_once(num_processes: int, batch_size: int) -> None:
    parts = [evaluation_batches(LENGTHS, process, num_processes, batch_size) for process in range(num_processes)]
    assert len({tuple(len(micro_batch.rows) for micro_batch in part) for part in parts}) == 1
    rows = [int(row) for part in parts for micro_batch in part for row in micro_batch.rows[micro_batch.weights == 1]]
    assert sorted(rows) == list(range(1013))

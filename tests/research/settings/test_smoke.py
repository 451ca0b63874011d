"""`--smoke` makes a run short."""

from __future__ import annotations

from research.settings.config import RunConfig
from research.settings.smoke import NUM_BATCHES, reduce_for_smoke


def test_reduce_for_smoke_limits_steps_batches_lengths_and_rows() -> None:
    small = RunConfig(batch_size=2, max_length=16, limit_train=3)
    for config in (RunConfig(), small):
        reduced = reduce_for_smoke(config)
        assert reduced.max_steps == NUM_BATCHES
        assert reduced.batch_size == min(config.batch_size, 8) == reduced.evaluation_batch_size
        assert reduced.max_length == min(config.max_length, 64)
        num_rows = NUM_BATCHES * reduced.batch_size
        assert reduced.limit_train == min(config.limit_train or num_rows, num_rows)
        assert reduced.limit_validation == reduced.limit_test == num_rows


def test_reduce_for_smoke_reads_few_streamed_rows() -> None:
    reduced = reduce_for_smoke(RunConfig(streaming=True))
    assert (reduced.limit_train, reduced.shuffle_buffer) == (None, NUM_BATCHES * 8)
    assert reduce_for_smoke(RunConfig()).shuffle_buffer == RunConfig().shuffle_buffer


def test_reduce_for_smoke_is_idempotent_and_keeps_the_model() -> None:
    config = RunConfig(head="gru", seed=5)
    reduced = reduce_for_smoke(config)
    assert reduce_for_smoke(reduced) == reduced
    assert (reduced.head, reduced.seed) == (config.head, config.seed)


def test_reduce_for_smoke_leaves_room_for_a_template() -> None:
    template = "one " * 100 + "{text}"
    reduced = reduce_for_smoke(RunConfig(template=template))
    assert 100 + 64 < reduced.max_length < RunConfig().max_length


def test_reduce_for_smoke_shortens_windows_once() -> None:
    reduced = reduce_for_smoke(RunConfig(long_texts="windows", window=512, stride=384))
    assert (reduced.window, reduced.stride) == (64, 32)
    assert reduce_for_smoke(reduced) == reduced

"""`--smoke`: a complete run on three batches."""

from __future__ import annotations

import dataclasses

from research.settings.config import RunConfig

NUM_BATCHES = 3
MAX_LENGTH = 64


def reduce_for_smoke(config: RunConfig) -> RunConfig:
    """Return the settings reduced to three small batches. Reducing them a second time changes nothing."""
    batch_size = min(config.batch_size, 8)
    max_length = MAX_LENGTH + len((config.template or "").encode())  # the template must fit
    length = min(config.input_length, max_length)
    num_rows = NUM_BATCHES * batch_size

    def at_most_rows(limit: int | None) -> int:
        return num_rows if limit is None else min(limit, num_rows)

    return dataclasses.replace(
        config,
        batch_size=batch_size,
        evaluation_batch_size=batch_size,
        max_length=min(config.max_length, max_length),
        window=None if config.window is None else length,
        stride=None if config.stride is None else min(config.stride, MAX_LENGTH // 2),
        limit_train=config.limit_train if config.streaming else at_most_rows(config.limit_train),
        shuffle_buffer=min(config.shuffle_buffer, num_rows) if config.streaming else config.shuffle_buffer,
        limit_validation=at_most_rows(config.limit_validation),
        limit_test=at_most_rows(config.limit_test),
        max_steps=NUM_BATCHES,
        evaluate_every="2st",  # every two steps
        save_every="2st",
        log_every=1,
        warmup="1st",  # one step
    )

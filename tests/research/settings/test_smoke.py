"""`--smoke` reduces a run."""

from __future__ import annotations

from research.settings.config import RunConfig
from research.settings.smoke import NUM_BATCHES, smoke_settings


def test_smoke_settings_never_enlarge_a_run() -> None:
    small = RunConfig(batch_size=2, max_length=16, limit_train=3)
    for config in (RunConfig(), small):
        cut = smoke_settings(config)
        assert cut.max_steps == NUM_BATCHES
        assert cut.batch_size == min(config.batch_size, 8) == cut.evaluation_batch_size
        assert cut.max_length == min(config.max_length, 64)
        assert cut.limit_train == min(config.limit_train or 10**9, NUM_BATCHES * cut.batch_size)
        assert cut.limit_validation == cut.limit_test == NUM_BATCHES * cut.batch_size


def test_smoke_settings_are_idempotent_and_keep_the_model() -> None:
    config = RunConfig(head="gru", seed=5)
    cut = smoke_settings(config)
    assert smoke_settings(cut) == cut
    assert (cut.head, cut.seed) == (config.head, config.seed)

"""Settings that do not go together with streamed training rows are reported before torch is imported."""

from __future__ import annotations

from typing import Any

import pytest

from research.runner.first_checks.check import check_first
from research.settings.config import RunConfig
from research.system.errors import is_user_facing


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"shuffle_buffer": 100}, r"--shuffle_buffer 100.*--streaming"),
        ({"streaming": True, "limit_train": 10}, r"--limit_train.*--streaming.*--max_steps"),
        ({"streaming": True, "validation_share": 0.1}, r"--validation_share.*--streaming"),
        ({"streaming": True, "test_share": 0.1}, r"--test_share.*--streaming"),
        ({"streaming": True, "unseen_labels": "skip"}, r"--unseen_labels.*--streaming.*--bad_rows skip"),
        ({"streaming": True, "cache_features": True}, r"--cache_features true.*--streaming"),
    ],
)
def test_settings_that_need_all_rows_are_refused_first(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected) as caught:
        check_first(RunConfig(**{"data": "imdb", **settings}))
    assert is_user_facing(caught.value)


@pytest.mark.parametrize(
    "settings",
    [{"limit_validation": 10, "limit_test": 10, "split_seed": 3}, {"bad_rows": "skip"}, {"cache_features": False}],
)
def test_settings_that_need_no_training_rows_are_accepted(settings: dict[str, Any]) -> None:
    check_first(RunConfig(data="imdb", streaming=True, shuffle_buffer=100, **settings))

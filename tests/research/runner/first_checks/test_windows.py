"""Settings of windows that contradict each other are reported before torch is imported."""

from __future__ import annotations

from typing import Any

import pytest

from research.runner.first_checks.check import check_first
from research.settings.config import RunConfig
from research.system.errors import is_user_facing


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"window": 128}, r"--window 128.*--long_texts windows"),
        ({"stride": 128}, r"--stride 128.*--long_texts windows"),
        ({"max_windows": 4}, r"--max_windows 4.*--long_texts windows"),
        ({"train_windows": 2}, r"--train_windows 2.*--long_texts windows"),
        ({"window_batch_size": 2}, r"--window_batch_size 2.*--long_texts windows"),
        ({"long_texts": "windows", "window": 64, "max_length": 128}, r"--window 64.*--max_length 128"),
        ({"long_texts": "windows", "window": 64, "stride": 65}, r"--stride.*64 tokens.*got 65"),
        ({"long_texts": "windows", "max_windows": 4, "train_windows": 4}, r"--train_windows.*--max_windows 4.*got 4"),
        ({"long_texts": "windows", "train_windows": 4, "cache_features": True}, r"--cache_features.*--train_windows"),
        ({"long_texts": "windows", "compile": True}, r"--compile.*--long_texts windows"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_first(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected) as caught:
        check_first(RunConfig(**{"data": "imdb", **settings}))
    assert is_user_facing(caught.value)

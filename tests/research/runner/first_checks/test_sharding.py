"""Settings of --shard that would have no effect, or cannot work, are refused."""

from __future__ import annotations

from typing import Any

import pytest

from research.runner.first_checks.sharding import check_sharding
from research.settings.config import RunConfig


@pytest.mark.sharding
@pytest.mark.parametrize(
    "settings",
    [{}, {"shard": "fsdp2"}, {"shard": "fsdp2", "shard_precision": "bf16", "shard_group_size": 2}],
)
def test_check_sharding_accepts_settings_that_work(settings: dict[str, Any]) -> None:
    check_sharding(RunConfig(**settings))


@pytest.mark.parametrize("name", ["shard_precision", "shard_group_size", "shard_cpu_offload", "shard_checkpoints"])
def test_check_sharding_refuses_settings_without_effect(name: str) -> None:
    values: dict[str, Any] = {
        "shard_precision": "bf16",
        "shard_group_size": 2,
        "shard_cpu_offload": True,
        "shard_checkpoints": True,
    }
    with pytest.raises(ValueError, match=rf"--{name} .*--shard fsdp2"):
        check_sharding(RunConfig(**{name: values[name]}))


@pytest.mark.sharding
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"long_texts": "windows"}, "--long_texts truncate"),
        ({"base_dtype": "int8", "peft": "lora"}, "--base_dtype int8"),
    ],
)
def test_check_sharding_refuses_settings_that_do_not_work(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_sharding(RunConfig(shard="fsdp2", **settings))

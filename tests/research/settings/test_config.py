"""Settings passed in Python are checked like those from the command line."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from heads.registry import UnknownNameError
from research import RunConfig
from research.settings.config import Choice


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": 3}, "optimizer .*str.*mapping.* 3"),
        ({"schedule_interval": "stpe"}, "schedule_interval .*step.*epoch.*'stpe'"),
        ({"batch_size": 8.5}, r"batch_size .*\bint\b.* 8\.5"),
        ({"batch_size": True}, "batch_size .*int.* True"),
        ({"lr": "1e-3"}, "lr .*float.*'1e-3'"),
        ({"hook": "early_stopping"}, "hook .*list.*'early_stopping'"),
        ({"head": 3}, "head .*str.*mapping.* 3"),
        ({"lr": -1.0}, r"lr .*\b0\b.* -1\.0"),
        ({"dropout": 1.0}, r"dropout .*\b0\b.*\b1\b.* 1\.0"),
    ],
)
def test_config_rejects_wrong_types_and_ranges(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RunConfig(**settings)


def test_config_accepts_integers_for_floats() -> None:
    assert RunConfig(lr=1, epochs=2).epochs == 2


@pytest.mark.parametrize("value", [None, "", 3, ["lstm"]])
def test_choice_must_be_a_name_or_a_mapping(value: Any) -> None:
    with pytest.raises(ValueError, match=r"head .*'name'") as caught:
        Choice.of(value, "head")
    assert str(value) in str(caught.value)


def test_choice_as_a_mapping_needs_a_name() -> None:
    with pytest.raises(ValueError, match=r"head .*'name'"):
        Choice.of({"lstm_size": 3}, "head")


def test_run_config_suggests_the_nearest_name_for_an_unknown_setting() -> None:
    with pytest.raises(
        UnknownNameError, match=r"^Unknown setting 'overwite'. Did you mean 'overwrite'\? Settings: .*, lr, "
    ):
        RunConfig(overwite=True)  # type: ignore[call-arg]
    with pytest.raises(UnknownNameError, match="'encoder'"):
        dataclasses.replace(RunConfig(), encodr="tiny")  # type: ignore[call-arg]

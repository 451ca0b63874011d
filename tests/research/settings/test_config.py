"""Settings given from Python are checked as those of the command line are."""

from __future__ import annotations

from typing import Any

import pytest

from research import RunConfig
from research.settings.config import Choice


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "SGD"}, "Expected optimizer to be adamw or sgd; got 'SGD'"),
        ({"schedule_interval": "stpe"}, "Expected schedule_interval to be step or epoch; got 'stpe'"),
        ({"batch_size": 8.5}, r"Expected batch_size to be of type int; got 8\.5"),
        ({"batch_size": True}, "Expected batch_size to be of type int; got True"),
        ({"lr": "1e-3"}, "Expected lr to be of type float; got '1e-3'"),
        ({"hook": "early_stopping"}, "Expected hook to be a list; got 'early_stopping'"),
        ({"head": 3}, "Expected head to be of type str or a mapping; got 3"),
        ({"lr": -1.0}, r"Expected lr above 0, got -1\.0"),
        ({"dropout": 1.0}, r"Expected dropout from 0 to below 1, got 1\.0"),
    ],
)
def test_settings_of_another_type_or_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RunConfig(**settings)


def test_whole_numbers_are_numbers() -> None:
    assert RunConfig(lr=1, epochs=2).epochs == 2


@pytest.mark.parametrize("value", [None, "", 3, ["lstm"]])
def test_choice_is_a_name_or_a_mapping(value: Any) -> None:
    with pytest.raises(ValueError, match="Expected the head as a name, or as a mapping with a 'name' and options; got"):
        Choice.of(value, "head")


def test_choice_as_a_mapping_needs_a_name() -> None:
    with pytest.raises(ValueError, match="A head given as a mapping needs a 'name'"):
        Choice.of({"lstm_size": 3}, "head")

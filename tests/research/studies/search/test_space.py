"""Ranges and lists of a search's space are parsed, and invalid ones are refused."""

from __future__ import annotations

import re
from typing import Any

import pytest

from heads.registry import UnknownNameError
from research.studies.search.space import Range, Values, parse_flag, parse_space


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ("lr=1e-6..1e-3:log", Range(1e-6, 1e-3, is_log=True)),
        ("head.dropout=0..0.5", Range(0, 0.5)),
        ("head.dropout=.1..0.5", Range(0.1, 0.5)),
        ("head-lr=-1..1:step=0.5", None),
        ("weight_decay=0..0.1:step=0.05", Range(0, 0.1, step=0.05)),
        ("batch_size=8..64:log", Range(8, 64, is_log=True, is_integer=True)),
        ("batch_size=8..64:step=8", Range(8, 64, step=8, is_integer=True)),
        ("head.lstm_size=16..64", Range(16, 64, is_integer=True)),
        ("head.dropout=0..1", Range(0, 1, is_integer=True)),  # the type of the option is not known here
        ("warmup=0%..20%", Range(0, 20, unit="%")),
        ("timeline[0].at=10st..50st", Range(10, 50, unit="st", is_integer=True)),
        ("timeline[1].set_dropout.p=0.1..0.5", Range(0.1, 0.5)),
        ("lr=1e-5,3e-5", Values((1e-5, 3e-5))),
        ("head=linear,{name: lstm, lstm_size: 8}", Values(("linear", {"name": "lstm", "lstm_size": 8}))),
        ("layer_decay=null,0.9", Values((None, 0.9))),
        ("freeze=[encoder],[]", Values((["encoder"], []))),
        ("encoder=../a,../b", Values(("../a", "../b"))),
    ],
)
def test_flags_are_parsed(flag: str, expected: Range | Values | None) -> None:
    name, values = parse_flag(flag)
    (dimension,) = parse_space({name: values}).values()
    if expected is not None:
        assert dimension == expected
    assert parse_space({name: [*dimension.values] if isinstance(dimension, Values) else str(dimension)}) == {
        name: dimension
    }


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("lr", "1e-3..1e-6:log", "from low to high"),
        ("lr", "0..1e-3:log", "above 0"),
        ("lr", "1e-6..1e-3:lgo", ":lgo"),
        ("lr", "1e-6..1e-3:log:step=0.1", "both"),
        ("lr", "0..1:step=0", ":step=0"),
        ("lr", "0..1:step=0.3", "divides"),
        ("lr", "low..high", "two numbers"),
        ("warmup", "0%..20st", "same unit"),
        ("batch_size", "8..16.5", "integers"),
        ("batch_size", "8..16:step=0.5", "integers"),
        ("warmup", "0st..10.5st", "integers"),
        ("lr", "fast", "range such as"),
        ("lr", [], "empty"),
        ("lr", [1e-5, "1e-5"], "twice"),
        ("timeline[x].at", "0%..20%", "place in the timeline"),
        ("split_seed", [0, 1], "different validation rows"),
        ("data", ["imdb", "rotten_tomatoes"], "different validation rows"),
    ],
)
def test_invalid_values_are_refused(name: str, values: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_space({name: values})


@pytest.mark.parametrize(("name", "suggestion"), [("head_rl", "'head_lr'"), ("haed", "'head'"), ("seed", "")])
def test_unknown_settings_are_refused_with_a_near_name(name: str, suggestion: str) -> None:
    with pytest.raises(UnknownNameError) as error:
        parse_space({name: [1, 2]})
    assert re.search(suggestion, str(error.value))


@pytest.mark.parametrize("flag", ["lr", "lr=", "=1"])
def test_flag_without_a_name_or_values_is_refused(flag: str) -> None:
    with pytest.raises(ValueError, match=r"form|search"):
        parse_space(dict([parse_flag(flag)]))


def test_numbers_of_a_range_become_values_of_the_setting_and_back() -> None:
    percent = Range(0, 20, unit="%")
    assert percent.to_value(12.5) == "12.5%"
    assert percent.to_number("12.5%") == 12.5
    assert Range(0, 1).to_number("1e-1") == 0.1
    size = Range(8, 64, step=8, is_integer=True)
    assert size.to_number(16) == 16
    for invalid in (12, 72, "16st", "large", None):
        with pytest.raises(ValueError, match="Expected"):
            size.to_number(invalid)

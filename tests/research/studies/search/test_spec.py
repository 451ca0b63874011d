"""The section `search` of a study is checked."""

from __future__ import annotations

from typing import Any

import pytest

from heads.registry import UnknownNameError
from research.studies.grid import StudySpec
from research.studies.search.spec import parse_confirm, parse_search

SPACE = {"lr": "1e-6..1e-3:log", "head": ["linear", "lstm"]}


def test_defaults_and_budget() -> None:
    search = parse_search({"space": SPACE, "trials": 1, "hours": 1.5, "pruner": {"name": "median"}})
    assert (search.sampler_choice.name, search.seed) == ("tpe", 0)
    assert search.pruner_choice is not None
    assert search.pruner_choice.name == "median"
    assert search.describe_budget() == "1 trial or 1.5 hours"
    assert parse_search({"space": SPACE, "hours": 1, "pruner": "none"}).pruner_choice is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "budget"),
        ({"trials": 0}, "above 0"),
        ({"trials": True}, "type int"),
        ({"trials": 4, "hours": -1}, "above 0"),
        ({"trials": 4, "space": {}}, "settings to search"),
        ({"trials": 4, "smapler": "tpe"}, "'sampler'"),
        ({"trials": 4, "points": [{"lrr": 1}]}, "'lr'"),
        ({"trials": 4, "points": ["lr=1"]}, "point of the search"),
        ({"trials": 4, "minimize": "second"}, "'seconds'"),
        ({"trials": 4, "minimize": "seconds", "pruner": "median"}, "--pruner"),
        ({"trials": 4, "minimize": "seconds", "warm_start": ["runs/a"]}, "--warm_start"),
        ({"trials": 4, "minimize": "seconds", "sampler": "cmaes"}, "cmaes"),
        ({"trials": 4, "warm_start": [3]}, "directories"),
    ],
)
def test_invalid_sections_are_refused(content: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_search({"space": SPACE, **content})


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"grid": {"lr": [1e-5]}}, "grid: lr"),
        ({"grid": {"seed": [0, 1]}}, "--confirm"),
        ({"grid": {"seed": ["0-4"]}}, "--confirm"),
        ({"exclude": [{"head": "lstm"}]}, "exclude"),
        ({"baseline": "linear"}, "baseline"),
        ({"arms": {"a": {}}}, "arm"),
        ({"split": "test"}, "validation"),
    ],
)
def test_sections_of_a_grid_are_refused_in_a_search(section: dict[str, Any], message: str) -> None:
    search = {"space": SPACE, "trials": 4}
    assert StudySpec(search=search, split="validation", grid={"seed": [3]}).search == search
    with pytest.raises(ValueError, match=message):
        StudySpec(**{"search": search, "split": "validation", **section})


def test_confirm_is_parsed() -> None:
    assert parse_confirm("3x5") == (3, 5)
    for text in ("3", "0x5", "3x", "3x5x1", "axb"):
        with pytest.raises(ValueError, match="CONFIGURATIONSxSEEDS"):
            parse_confirm(text)


def test_unknown_keys_are_errors_with_near_names() -> None:
    with pytest.raises(UnknownNameError, match="'warm_start'"):
        parse_search({"space": SPACE, "trials": 4, "warmstart": []})

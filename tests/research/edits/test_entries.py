"""Timeline entries are parsed, and their times are converted to steps."""

from __future__ import annotations

from typing import Any

import pytest

from heads.registry import UnknownNameError
from research.edits.conditions import parse_condition
from research.edits.entries import Due, given_arguments, read_entry
from research.settings.options import options_of
from research.settings.times import Clock, parse_time

EDITS = ("freeze", "unfreeze")
CLOCK = Clock(steps_per_epoch=10, total_steps=20, batch_size=8)


@pytest.mark.parametrize(
    ("keywords", "due"),
    [
        ({"at": "10%"}, Due(at=parse_time("10%"))),
        ({"every": "3st"}, Due(every=parse_time("3st"))),
        ({"when": "above(validation/f1, 0.5)"}, Due(when=parse_condition("above(validation/f1, 0.5)"))),
        (
            {"when": "above(validation/f1, 0.5)", "on_conflict": "skip"},
            Due(when=parse_condition("above(validation/f1, 0.5)"), on_conflict="skip"),
        ),
    ],
)
def test_read_entry_returns_when_the_entry_is_due_and_its_edits(keywords: dict[str, Any], due: Due) -> None:
    edits = {"freeze": "encoder", "unfreeze": ["head"]}
    assert read_entry({**keywords, **edits}, EDITS) == (due, edits)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("freeze", "'freeze'"),
        ({"freeze": "head"}, "at, every, when, .*none"),
        ({"at": "10st", "every": "20st", "freeze": "head"}, "at, every, when, .*at, every"),
        ({"at": "10st"}, "freeze, unfreeze"),
        ({"at": "10st", "freeze": "head", "on_conflict": "skip"}, "on_conflict .*'when'"),
        (
            {"when": "above(validation/f1, 1)", "freeze": "head", "on_conflict": "ask"},
            "on_conflict .*skip.*error.*'ask'",
        ),
        ({"every": "0%", "freeze": "head"}, "0 .*'every'"),
        ({"at": "soon", "freeze": "head"}, "'soon'"),
        ({"when": "soon", "freeze": "head"}, "'soon'"),
    ],
)
def test_read_entry_refuses_invalid_entries(entry: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_entry(entry, EDITS)


def test_read_entry_refuses_unknown_keys_unless_a_plugin_may_register_them_as_edits() -> None:
    for misspelt, meant in (("freze", "freeze"), ("evry", "every"), ("on_conflit", "on_conflict")):
        with pytest.raises(UnknownNameError, match=f"'{misspelt}'.*'{meant}'"):
            read_entry({"at": "10st", misspelt: "head"}, EDITS)
    assert read_entry({"at": "10st", "mine": 3}, EDITS, allow_unregistered=True)[1] == {"mine": 3}


@pytest.mark.parametrize(
    ("due", "steps"),
    [
        (Due(at=parse_time("50%")), [10]),
        (Due(at=parse_time("0st")), [0]),
        (Due(at=parse_time("2ep")), [20]),
        (Due(every=parse_time("6st")), [6, 12, 18]),
        (Due(every=parse_time("10st")), [10]),
        (Due(when=parse_condition("above(validation/f1, 1)")), []),
    ],
)
def test_steps_of_a_due_time_are_within_the_run(due: Due, steps: list[int]) -> None:
    assert due.steps(CLOCK) == steps


def test_due_refuses_times_after_the_run() -> None:
    with pytest.raises(ValueError, match=r"25st .*\b25\b.*\b20\b"):
        Due(at=parse_time("25st")).steps(CLOCK)
    with pytest.raises(ValueError, match=r"2ep .*\b20 steps.*\b20\b"):
        Due(every=parse_time("2ep")).steps(CLOCK)


def test_check_evaluations_refuses_conditions_with_too_few_evaluations() -> None:
    due = Due(when=parse_condition("plateau(validation/loss, 3)"))
    due.check_evaluations(4)
    with pytest.raises(ValueError, match=r"plateau\(.*\b4 or more evaluations .*\b3\..*--evaluate_every"):
        due.check_evaluations(3)
    Due(at=parse_time("10st")).check_evaluations(0)


@pytest.mark.parametrize(
    ("value", "given"),
    [
        (3, {"size": 3}),
        ({"wide": True}, {"wide": True}),
        ({"wid": True}, {"wid": True}),  # so that the error names the misspelt argument
        ({}, {}),
        (True, {}),
        (None, {}),
    ],
)
def test_given_arguments_reads_a_dict_of_arguments_or_the_first_argument_alone(
    value: Any, given: dict[str, Any]
) -> None:
    def edit(*, size: int = 1, wide: bool = False) -> None: ...

    assert given_arguments("edit", options_of(edit), value) == given


def test_given_arguments_passes_booleans_and_dicts_to_a_first_argument_that_accepts_them() -> None:
    def switch(*, on: bool) -> None: ...

    def build(*, head: dict[str, Any] | str, width: int = 3) -> None: ...

    assert given_arguments("switch", options_of(switch), True) == {"on": True}
    assert given_arguments("build", options_of(build), {"name": "lstm"}) == {"head": {"name": "lstm"}}
    assert given_arguments("build", options_of(build), {"head": "lstm", "width": 4}) == {"head": "lstm", "width": 4}


def test_given_arguments_refuses_a_value_for_an_edit_without_arguments() -> None:
    assert given_arguments("merge_lora", (), True) == {}
    with pytest.raises(ValueError, match=r"'merge_lora: true'.*'head'"):
        given_arguments("merge_lora", (), "head")

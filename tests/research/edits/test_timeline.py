"""Timelines in runs of any length."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from research.clock import Clock
from research.config import RunConfig
from research.edits.journal import Parent, Record
from research.edits.timeline import parse_timeline, resolve_timeline


def test_smoke_keeps_the_order_of_times_within_a_step_too() -> None:
    timeline = [
        {"at": "60%", "merge_lora": True},
        {"at": "10%", "set_lr": 0.1},
        {"at": "20%", "set_weight_decay": 0.1},
        {"at": "0%", "set_dropout": 0.1},
        {"at": "40%", "add_lora": {"r": 2}},
    ]
    entries = parse_timeline(RunConfig(timeline=timeline))
    whole = resolve_timeline(entries, Clock(steps_per_epoch=100, total_steps=100, batch_size=8))
    pressed = resolve_timeline(entries, Clock(steps_per_epoch=3, total_steps=3, batch_size=8), smoke=True)

    def order(due: dict[int, list]) -> list[str]:
        return [request.name for step in sorted(due) for request in due[step]]

    assert list(whole.due) == [0, 10, 20, 40, 60]
    assert list(pressed.due) == [0, 1, 2]
    assert order(pressed.due) == order(whole.due)


HALVE = {"scale_lr": {"factor": 0.5}}


def parent_of(timeline: list[dict[str, Any]], step: int, *, total_steps: int = 12) -> Parent:
    """Return a parent that applied its timeline up to a step."""
    due = resolve_timeline(parse_timeline(RunConfig(timeline=timeline)), clock_of(total_steps)).due
    requests = [(at, request) for at in due if at <= step for request in due[at]]
    records = [
        Record(number, at, 0.0, request.name, request.arguments, request.asked_by, [1, 1], [1, 1], entry=request.entry)
        for number, (at, request) in enumerate(requests, start=1)
    ]
    return Parent("runs/parent", step, tuple(records))


def clock_of(total_steps: int) -> Clock:
    return Clock(steps_per_epoch=6, total_steps=total_steps, batch_size=8)


def left_to_do(timeline: list[dict[str, Any]], parent: Parent, *, total_steps: int = 12) -> list[int]:
    """Return after which steps a fork applies edits."""
    entries = parse_timeline(RunConfig(timeline=timeline))
    due = resolve_timeline(entries, clock_of(total_steps), parent=parent).due
    return [step for step in due for _ in due[step]]


def test_fork_keeps_an_edit_that_only_resembles_one_of_its_parent() -> None:
    first = {"at": "2st", **HALVE}
    parent = parent_of([first], 4)
    assert left_to_do([first], parent) == []
    assert left_to_do([first, {"at": "6st", **HALVE}], parent) == [6]
    assert left_to_do([{"at": "6st", **HALVE}], parent) == [6]
    assert left_to_do([first, {"at": "4st", **HALVE}], parent) == [4]
    assert left_to_do([first, {"every": "5st", **HALVE}], parent) == [5, 10]


def test_fork_applies_an_entry_as_often_as_it_is_written() -> None:
    twice = {"at": "4st", **HALVE}
    parent = parent_of([twice, twice], 4)
    assert left_to_do([twice, twice], parent) == []
    assert left_to_do([twice, twice, twice], parent) == [4]


def test_edit_that_a_hook_asked_for_is_no_entry_of_the_timeline() -> None:
    record = Record(1, 4, 0.0, "scale_lr", {"modules": "all", "factor": 0.5}, "hook Asks", [1, 1], [1, 1], entry="")
    (entry,) = parse_timeline(RunConfig(timeline=[{"at": "4st", **HALVE}]))
    record = replace(record, arguments=entry.requests[0].arguments)
    assert left_to_do([{"at": "4st", **HALVE}], Parent("runs/parent", 4, (record,))) == [4]
    of_an_earlier_version = replace(record, entry=None, asked_by="timeline entry 1")
    assert left_to_do([{"at": "4st", **HALVE}], Parent("runs/parent", 4, (of_an_earlier_version,))) == []


def test_repetitions_of_a_fork_count_from_the_beginning_of_the_run_as_times_do() -> None:
    every = {"every": "2st", **HALVE}
    assert left_to_do([every], parent_of([every], 4)) == [6, 8, 10]
    assert left_to_do([every], parent_of([], 4)) == [4, 6, 8, 10]  # as an entry at 4st
    # A run of 12 steps repeats nothing after its last one; a longer one goes on there.
    assert left_to_do([every], parent_of([every], 12), total_steps=16) == [12, 14]


def test_entry_that_the_parent_applied_is_reported_if_its_share_of_a_longer_run_comes_again() -> None:
    timeline = [{"at": "75%", **HALVE}]
    entries = parse_timeline(RunConfig(timeline=timeline))
    found = resolve_timeline(entries, clock_of(24), parent=parent_of(timeline, 10))
    assert (found.due, found.note is not None) == ({}, True)
    assert resolve_timeline(entries, clock_of(12), parent=parent_of(timeline, 10)).note is None
    assert left_to_do(timeline, parent_of(timeline, 8)) == [9]


def test_fork_does_not_wait_for_a_condition_that_came_true_in_its_parent() -> None:
    entries = parse_timeline(RunConfig(timeline=[{"when": "plateau(validation/loss, 2)", "add_lora": {"r": 2}}]))
    (request,) = entries[0].requests
    done = Record(1, 3, 0.5, request.name, request.arguments, request.asked_by, [1, 1], [1, 1], entry=request.entry)
    asked = replace(done, entry="", asked_by="hook Asks")
    assert resolve_timeline(entries, clock_of(12), parent=Parent("runs/parent", 4, (done,))).is_empty
    assert resolve_timeline(entries, clock_of(12), parent=Parent("runs/parent", 4, (asked,))).conditional == entries
    assert resolve_timeline(entries, clock_of(12)).conditional == entries

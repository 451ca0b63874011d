"""Arms have readable names, which say in which settings they differ."""

from __future__ import annotations

from typing import Any

import pytest

from research.studies.arm_names import arm_name
from research.studies.grid import StudySpec, expand


@pytest.mark.parametrize(
    ("timeline", "name"),
    [
        ([], "none"),
        ([{"at": "50%", "replace_head": "attention"}], "50% replace_head attention"),
        (
            [{"at": "50%", "replace_head": {"name": "lstm", "lstm_size": 64}}],
            "50% replace_head lstm (lstm_size 64)",
        ),
        (
            [{"at": "50%", "replace_head": {"head": {"name": "lstm", "lstm_size": 64}}}],
            "50% replace_head (head lstm (lstm_size 64))",
        ),
        (
            [{"at": "10%", "freeze": "encoder"}, {"every": "4st", "scale_lr": {"factor": 0.5}}],
            "10% freeze encoder; every 4st scale_lr (factor 0.5)",
        ),
        (
            [{"when": "plateau(validation/loss, 3)", "unfreeze": "encoder", "on_conflict": "skip"}],
            "when plateau(validation/loss, 3) unfreeze encoder (on_conflict skip)",
        ),
        ([{"at": "1ep", "merge_adapters": None, "freeze": ["a", "b"]}], "1ep merge_adapters and freeze a+b"),
        ([{"at": "1ep", "set_bidirectional": False}], "1ep set_bidirectional false"),
    ],
)
def test_timelines_are_described_in_words(timeline: list[dict[str, Any]], name: str) -> None:
    assert arm_name({"timeline": timeline}, ["timeline"]) == f"timeline={name}"


def test_arms_of_a_study_with_timelines_have_readable_names_which_ids_do_not_depend_on() -> None:
    timeline = [{"at": "50%", "replace_head": {"name": "lstm", "lstm_size": 64}}]
    trials = expand(StudySpec(grid={"timeline": [[], timeline]}))
    assert [trial.arm for trial in trials] == ["timeline=none", "timeline=50% replace_head lstm (lstm_size 64)"]
    named = expand(StudySpec(arms={"a": {}, "b": {"timeline": timeline}}))
    assert [trial.id for trial in trials] == [trial.id for trial in named]


def test_options_of_a_head_follow_its_name() -> None:
    axes = {"head": {"name": "lstm", "lstm_size": 64, "dropout": 0.1}, "lr": 1e-4}
    assert arm_name(axes, ["head", "lr"]) == "lstm (lstm_size 64, dropout 0.1), lr=0.0001"

"""A proposer turns values that a sampler chooses into trials."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from heads.registry import UnknownNameError
from research.studies.grid import StudySpec
from research.studies.search.propose import DEFAULTS, Proposer, encode
from research.studies.search.space import Range, Values
from research.studies.storage.database import local_address
from research.studies.storage.study import Study

SPACE = {"lr": "1e-6..1e-3:log", "head": ["linear", "attention", "lstm"], "head.dropout": "0..0.5"}


def make_proposer(space: dict[str, Any], base: dict[str, Any] | None = None, **search: Any) -> Proposer:
    return Proposer(StudySpec(base=base or {}, search={"space": space, "trials": 5, **search}, split="validation"))


def test_options_are_chosen_only_for_choices_that_have_them() -> None:
    proposer = make_proposer({"head.lstm_size": "8..64:log", "head": ["linear", "lstm"], "lr": [1e-5, 1e-4]})
    assert [*proposer.space][:1] == ["head"]  # the choice comes before its options
    for trial in proposer.boundary_trials():
        is_lstm = trial.settings["head"] != "linear"
        assert ("head.lstm_size" in trial.axes) == is_lstm
        if is_lstm:
            assert trial.settings["head"] == {"name": "lstm", "lstm_size": trial.axes["head.lstm_size"]}
            assert isinstance(trial.axes["head.lstm_size"], int)
    sizes = {trial.axes.get("head.lstm_size") for trial in proposer.boundary_trials()}
    assert sizes == {None, 8}  # the option's upper end is only reached with the first head that has it


def test_option_of_the_base_keeps_its_other_options() -> None:
    proposer = make_proposer({"head.dropout": "0..0.5"}, {"head": {"name": "lstm", "lstm_size": 8}})
    trial = proposer.make_trial({"head.dropout": 0.25})
    assert trial.settings["head"] == {"name": "lstm", "lstm_size": 8, "dropout": 0.25}
    assert trial.arm == "lstm (lstm_size 8, dropout 0.25)"
    assert trial.settings["score_test"] is False
    assert proposer.default_trial().arm == DEFAULTS


def test_type_of_an_option_decides_whether_a_range_has_integers_only() -> None:
    proposer = make_proposer({"head": ["lstm"], "head.dropout": "0..1", "head.num_layers": "1..2"})
    dropout, layers = proposer.space["head.dropout"], proposer.space["head.num_layers"]
    assert isinstance(dropout, Range)
    assert isinstance(layers, Range)
    assert (dropout.is_integer, layers.is_integer) == (False, True)
    with pytest.raises(ValueError, match="integers"):
        make_proposer({"head": ["lstm"], "head.num_layers": "1..2.5"})
    with pytest.raises(ValueError, match="needs --head"):
        make_proposer({"head.num_layers": "1..2"})
    with pytest.raises(UnknownNameError, match="'lstm_size'"):
        make_proposer({"head": ["lstm"], "head.lstm_sise": "8..16"})


def test_places_in_the_timeline_are_searched() -> None:
    timeline: list[dict[str, Any]] = [
        {"at": "10%", "unfreeze": "encoder"},
        {"at": "20%", "set_dropout": {"modules": "head", "p": 0.1}},
    ]
    space = {"timeline[0].at": "5%..50%", "timeline[1].set_dropout.p": "0.1..0.5"}
    proposer = make_proposer(space, {"timeline": timeline})
    trial = proposer.make_trial({"timeline[0].at": "12.5%", "timeline[1].set_dropout.p": 0.25})
    assert trial.settings["timeline"] == [
        {"at": "12.5%", "unfreeze": "encoder"},
        {"at": "20%", "set_dropout": {"modules": "head", "p": 0.25}},
    ]
    assert "timeline[0].at=12.5%" in trial.arm
    assert timeline[0]["at"] == "10%"  # the base is unchanged
    with pytest.raises(ValueError, match=r"timeline\[2\]\.at"):
        make_proposer({"timeline[2].at": "5%..50%"}, {"timeline": timeline}).boundary_trials()
    with pytest.raises(ValueError, match=r"timeline\[0\]\.att"):
        make_proposer({"timeline[0].att": "5%..50%"}, {"timeline": timeline}).boundary_trials()


def test_boundary_trials_have_each_value_and_both_ends_and_the_points() -> None:
    proposer = make_proposer({**SPACE, "warmup": "0st..10st"}, points=[{"head": "lstm", "lr": 3e-5}])
    trials = proposer.boundary_trials()
    assert {trial.axes["head"] for trial in trials} == {"linear", "attention", "lstm"}
    assert {trial.axes["lr"] for trial in trials} == {1e-6, 1e-3, 3e-5}
    assert {trial.axes["warmup"] for trial in trials} == {"0st", "10st"}
    assert len({trial.id for trial in trials}) == len(trials)


def test_values_of_the_space_are_encoded() -> None:
    heads = Values(("linear", {"name": "lstm", "lstm_size": 8}, None, 3))
    assert encode(heads, "linear") == "linear"
    assert encode(heads, {"name": "lstm", "lstm_size": 8}) == '{"name": "lstm", "lstm_size": 8}'
    assert encode(heads, None) == "null"
    assert encode(heads, "3") == 3
    with pytest.raises(ValueError, match="linear"):
        encode(heads, "mlp")


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"lr": 1}, "lr"),
        ({"head": "mlp"}, "linear, attention, lstm"),
        ({"head": "linear", "head.lstm_size": 8}, r"head\.lstm_size"),
    ],
)
def test_points_outside_of_the_space_are_refused(point: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_proposer({**SPACE, "head.lstm_size": "8..16"}, points=[point])


def run_search(folder: Path, proposer: Proposer, num_stops: int = 0) -> list[dict[str, Any]]:
    """Run a search that prefers low learning rates; interrupt or kill it `num_stops` times, and return the values."""
    stops = iter(range(num_stops))
    while True:
        with Study("s", local_address(folder)) as study:
            study.requeue_dead_trials()
            for count in itertools.count():
                claim = study.claim("a worker") or study.ask(proposer, "a worker")
                if claim is None:
                    return [entry.trial.axes for entry in study.entries().values()]
                if count % 2 and (stop := next(stops, None)) is not None:
                    if stop % 2:
                        study.release(claim)
                    else:
                        study.requeue_killed(claim)
                    break
                study.finish(claim, -claim.trial.settings["lr"], {})


SAMPLERS = [
    {"name": "tpe", "n_startup_trials": 2},
    {"name": "random"},
    {"name": "qmc"},
    {"name": "gp", "n_startup_trials": 2},
    {"name": "nsgaii", "population_size": 2},
]


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: str(sampler["name"]))
def test_trials_are_the_same_after_interrupts_and_kills(sampler: dict[str, Any], tmp_path: Path) -> None:
    space = {"lr": "1e-6..1e-3:log", "head": ["linear", "lstm"], "head.lstm_size": "8..64"}
    proposer = make_proposer(space, sampler=sampler, trials=6, points=[{"head": "lstm", "lr": 1e-4}])
    folders = [tmp_path / name for name in ("uninterrupted", "interrupted")]
    for folder in folders:
        folder.mkdir()
    uninterrupted = run_search(folders[0], proposer)
    assert len(uninterrupted) == 6
    assert uninterrupted[0]["lr"] == 1e-4
    assert run_search(folders[1], proposer, num_stops=3) == uninterrupted


def test_sampler_learns_from_the_results(tmp_path: Path) -> None:
    values = run_search(
        tmp_path, make_proposer({"lr": "0..1"}, sampler={"name": "tpe", "n_startup_trials": 4}, trials=16)
    )
    rates = [trial["lr"] for trial in values]
    assert max(rates[-6:]) < sum(rates[:4]) / 4

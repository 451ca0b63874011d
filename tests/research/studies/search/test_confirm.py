"""A search's best configurations and the defaults become the arms of a study with new seeds."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from research.studies.command import StudyCommand, parse_study
from research.studies.grid import expand
from research.studies.run_study import create_study
from research.studies.search.confirm import plan_confirmation
from research.studies.search.propose import DEFAULTS, Proposer
from research.studies.search.report import describe_tried
from research.studies.search.results import best_first, read_search_trials
from research.studies.search.warm_start import find_earlier_use
from research.studies.storage.database import local_address
from research.studies.storage.study import Study


@pytest.fixture
def command(tmp_path: Path) -> StudyCommand:
    flags = ["--search", "lr=1e-4..1e-3", "head=linear,lstm", "--trials", "9", "--sampler", "random", "--seed", "3"]
    parsed = parse_study([*flags, "--lr", "5e-4", "--head", "linear", "--output_dir", str(tmp_path / "s")])
    assert isinstance(parsed, StudyCommand)
    return parsed


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    with Study("s", local_address(tmp_path)) as study:
        yield study


def finish(study: Study, proposer: Proposer, lr: float, head: str, *values: float) -> str:
    """Finish a trial with the given settings and objectives, and return its id."""
    key = study._create_running_trial("a worker")
    trial = proposer.make_trial({"lr": lr, "head": head})
    for name in ("id", "arm", "seed", "axes", "settings"):
        study._storage.set_trial_user_attr(key, name, getattr(trial, name))
    study._storage.set_trial_user_attr(key, "seconds", 60.0)
    study._storage.set_trial_state_values(key, study.entries()[trial.id].state.COMPLETE, values)
    return trial.id


def test_arms_are_the_defaults_and_the_best_configurations(command: StudyCommand, study: Study) -> None:
    proposer = Proposer(command.spec)
    finish(study, proposer, 2e-4, "linear", 0.7)
    finish(study, proposer, 3e-4, "lstm", 0.9)
    finish(study, proposer, 4e-4, "lstm", 0.8)
    confirmation, trials = plan_confirmation(command, study, proposer, num_best=2, num_seeds=3)
    spec = confirmation.spec
    assert spec.arms == {
        DEFAULTS: {},
        "lr=0.0003, lstm": {"lr": 3e-4, "head": "lstm"},
        "lr=0.0004, lstm": {"lr": 4e-4, "head": "lstm"},
    }
    assert spec.selection["validation"] == {"lr=0.0003, lstm": 0.9, "lr=0.0004, lstm": 0.8}
    assert (spec.baseline, spec.split, spec.search) == (DEFAULTS, "test", {})
    assert confirmation.directory == command.directory / "confirm"
    assert {trial.seed for trial in trials} == {4, 5, 6}  # the search has seed 3
    assert len(trials) == 9
    defaults = [trial for trial in trials if trial.arm == DEFAULTS]
    assert {(trial.settings["lr"], trial.settings["head"]) for trial in defaults} == {(5e-4, "linear")}
    assert all(trial.settings["score_test"] for trial in trials)


def test_configuration_that_equals_the_defaults_is_not_an_arm_of_its_own(command: StudyCommand, study: Study) -> None:
    proposer = Proposer(command.spec)
    finish(study, proposer, 5e-4, "linear", 0.9)
    finish(study, proposer, 4e-4, "lstm", 0.8)
    confirmation, trials = plan_confirmation(command, study, proposer, num_best=2, num_seeds=1)
    assert [*confirmation.spec.arms] == [DEFAULTS, "lr=0.0004, lstm"]
    assert confirmation.spec.selection["validation"] == {DEFAULTS: 0.9, "lr=0.0004, lstm": 0.8}
    assert len(trials) == 2


def test_configurations_with_the_same_rounded_name_stay_apart(command: StudyCommand, study: Study) -> None:
    proposer = Proposer(command.spec)
    finish(study, proposer, 2.0001e-4, "lstm", 0.9)
    second = finish(study, proposer, 2.0002e-4, "lstm", 0.8)
    confirmation, _ = plan_confirmation(command, study, proposer, num_best=2, num_seeds=1)
    assert [*confirmation.spec.arms] == [DEFAULTS, "lr=0.0002, lstm", f"lr=0.0002, lstm ({second})"]


def test_too_few_finished_trials_are_refused(command: StudyCommand, study: Study) -> None:
    proposer = Proposer(command.spec)
    finish(study, proposer, 2e-4, "lstm", 0.9)
    with pytest.raises(ValueError, match="needs 2 finished trials"):
        plan_confirmation(command, study, proposer, num_best=2, num_seeds=1)


def test_repeated_confirmation_says_that_test_rows_were_scored_before_the_choice(
    command: StudyCommand, study: Study
) -> None:
    proposer = Proposer(command.spec)
    finish(study, proposer, 2e-4, "lstm", 0.7)
    finish(study, proposer, 3e-4, "lstm", 0.8)

    def confirm(num_best: int, *, num_finished: int) -> dict[str, Any]:
        """Plan a confirmation, finish some of its trials, and return its selection."""
        confirmation, trials = plan_confirmation(command, study, proposer, num_best, num_seeds=2)
        with create_study(confirmation) as confirming:
            confirming.add(trials)
            for _ in range(num_finished):
                claim = confirming.claim("a worker")
                assert claim is not None
                confirming.finish(claim, 0.5, {}, seconds=1)
        return confirmation.spec.selection

    assert not confirm(2, num_finished=0)["test_rows_were_scored"]
    # No test rows were scored when the third configuration was chosen.
    finish(study, proposer, 4e-4, "lstm", 0.75)
    before = confirm(2, num_finished=1)
    assert not before["test_rows_were_scored"]
    assert "before any test rows were scored" in before["rule"]
    assert confirm(2, num_finished=1) == before  # an interrupted confirmation is repeated
    finish(study, proposer, 5e-4, "lstm", 0.9)
    after = confirm(2, num_finished=0)
    assert after["test_rows_were_scored"]
    assert "Test rows had been scored before this choice" in after["rule"]
    assert confirm(2, num_finished=0) == after


def test_seeds_and_test_rows_of_earlier_studies_are_not_fresh(command: StudyCommand, tmp_path: Path) -> None:
    """A grid with scored test rows informed a search, which informed the search that is confirmed."""

    def parse(name: str, *flags: str) -> StudyCommand:
        parsed = parse_study([*flags, "--lr", "5e-4", "--name", name, "--output_dir", str(tmp_path / name)])
        assert isinstance(parsed, StudyCommand)
        return parsed

    def confirm(source: str) -> tuple[dict[str, Any], set[int]]:
        final = parse("final", "--search", "lr=1e-4..1e-3", "--trials", "2", "--warm_start", str(tmp_path / source))
        proposer = Proposer(final.spec)
        with create_study(final) as study:
            finish(study, proposer, 2e-4, "lstm", 0.9)
            confirmation, trials = plan_confirmation(final, study, proposer, num_best=1, num_seeds=2)
        return confirmation.spec.selection, {trial.seed for trial in trials}

    search_flags = ["--search", "lr=1e-4..1e-3", "--trials", "2"]
    untested = parse("untested", *search_flags, "--seed", "4")
    with create_study(untested) as study:
        finish(study, Proposer(untested.spec), 3e-4, "lstm", 0.9)
    selection, seeds = confirm("untested")
    assert not selection["test_rows_were_scored"]
    assert "before any test rows were scored" in selection["rule"]
    assert seeds == {5, 6}

    grid = parse("grid", "--heads", "linear,lstm", "--seeds", "1-7")
    with create_study(grid) as study:
        study.add(expand(grid.spec))
        claim = study.claim("a worker")
        assert claim is not None
        study.finish(claim, 0.5, {"validation": {"accuracy": 0.5}, "test": {"accuracy": 0.5}}, seconds=1)
    with create_study(parse("informed", *search_flags, "--warm_start", str(tmp_path / "grid"))):
        pass
    shutil.rmtree(tmp_path / "final")
    selection, seeds = confirm("informed")
    assert selection["test_rows_were_scored"]
    assert f"earlier studies that informed it ({tmp_path / 'grid'})" in selection["rule"]
    assert "before any test rows were scored" not in selection["rule"]
    assert seeds == {8, 9}


def test_missing_study_that_informed_an_earlier_one_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flags = ["--search", "lr=1e-4..1e-3", "--trials", "2", "--warm_start", "runs/removed"]
    search = parse_study([*flags, "--name", "s", "--output_dir", str(tmp_path / "s")])
    assert isinstance(search, StudyCommand)
    with create_study(search):
        pass
    assert find_earlier_use([str(tmp_path / "s")]).tested == []
    assert "The earlier study runs/removed no longer exists" in caplog.text


def test_selection_records_the_search(command: StudyCommand, study: Study) -> None:
    proposer = Proposer(command.spec)
    for lr in (2e-4, 3e-4):
        trial_id = finish(study, proposer, lr, "lstm", 0.9)
        directory = command.directory / "trials" / trial_id
        directory.mkdir(parents=True)
        (directory / "result.json").write_text(json.dumps({"status": "finished", "world_size": 2}))
    confirmation, _ = plan_confirmation(command, study, proposer, num_best=1, num_seeds=1)
    selection = confirmation.spec.selection
    assert selection["space"] == {"head": "linear, lstm", "lr": "0.0001..0.001"}
    assert (selection["search"]["budget"], selection["search"]["sampler"]) == ("9 trials", "random")
    assert selection["search"]["pruner"] == "none"
    assert selection["device_hours"] == pytest.approx(2 * 120 / 3600)
    assert "second_values" not in selection
    (directory / "result.json").write_text(json.dumps({"status": "finished", "world_size": 1}))
    confirmation, _ = plan_confirmation(command, study, proposer, num_best=1, num_seeds=1)
    assert confirmation.spec.selection["device_hours"] is None


def test_all_trade_offs_are_confirmed_if_there_are_fewer(
    command: StudyCommand, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec = dataclasses.replace(command.spec, search={**command.spec.search, "minimize": "trainable_parameters"})
    command = dataclasses.replace(command, spec=spec)
    proposer = Proposer(spec)
    with Study("t", local_address(tmp_path), has_second_objective=True) as study:
        with pytest.raises(ValueError, match="needs 3 finished trials"):
            plan_confirmation(command, study, proposer, num_best=3, num_seeds=2)
        for lr, values in ((2e-4, [0.9, 50.0]), (3e-4, [0.8, 40.0]), (4e-4, [0.7, 60.0]), (5e-4, [0.6, 45.0])):
            finish(study, proposer, lr, "lstm", *values)
        confirmation, trials = plan_confirmation(command, study, proposer, num_best=3, num_seeds=2)
        assert [*confirmation.spec.arms] == [DEFAULTS, "lr=0.0002, lstm", "lr=0.0003, lstm"]
        assert len(trials) == 6
        assert "2 best trade-offs" in caplog.text
        selection = confirmation.spec.selection
        assert "The 2 configurations" in selection["rule"]
        assert selection["minimized"] == "trainable_parameters"
        assert selection["second_values"] == [50.0, 40.0, 60.0, 45.0]
        caplog.clear()
        plan_confirmation(command, study, proposer, num_best=2, num_seeds=2)
        assert "trade-off" not in caplog.text


def test_search_is_described(command: StudyCommand, study: Study) -> None:
    proposer = Proposer(command.spec)
    finish(study, proposer, 2e-4, "lstm", 0.9)
    finish(study, proposer, 3e-4, "lstm", 0.8)
    described = describe_tried(study, proposer.search)
    assert "2 configurations tried (2 finished) in 2 min 00 s, on a budget of 9 trials" in described
    assert "random (seed 0)" in described
    assert "earlier studies" not in described


def test_samplers_and_pruners_that_were_used_before_are_described(command: StudyCommand, study: Study) -> None:
    proposer = Proposer(command.spec)
    tpe = dataclasses.replace(proposer.search, sampler="tpe", seed=2)
    study.record_choices(tpe)
    study.record_choices(dataclasses.replace(tpe, seed=5))  # replaced before a trial was proposed
    study.record_choices(tpe)
    finish(study, proposer, 2e-4, "lstm", 0.9)
    study.record_choices(tpe)  # continued without a change
    finish(study, proposer, 3e-4, "lstm", 0.8)
    changed = dataclasses.replace(
        proposer.search,
        sampler={"name": "tpe", "multivariate": True},
        pruner={"name": "median", "n_startup_trials": 2},
    )
    study.record_choices(changed)
    described = describe_tried(study, changed)
    assert described.endswith("with the sampler tpe (seed 2) and no pruner.")  # no trial was proposed since
    finish(study, proposer, 4e-4, "lstm", 0.7)
    assert describe_tried(study, changed).endswith(
        "with the sampler tpe (seed 2) and no pruner; from trial 3 on with the sampler tpe (seed 0, multivariate True) "
        "and the pruner median (n_startup_trials 2)."
    )
    confirmation, _ = plan_confirmation(command, study, proposer, num_best=1, num_seeds=1)
    selection = confirmation.spec.selection["search"]
    assert (selection["sampler"], selection["seed of the sampler"]) == ("tpe", 2)
    assert selection["pruner (from trial 3 on)"] == {"name": "median", "n_startup_trials": 2}


def test_sampler_of_a_search_that_recorded_none_is_not_known(command: StudyCommand, study: Study) -> None:
    proposer = Proposer(command.spec)
    finish(study, proposer, 2e-4, "lstm", 0.9)
    assert "with the sampler random (seed 0) and no pruner." in describe_tried(study, proposer.search)
    study.record_choices(proposer.search)
    finish(study, proposer, 3e-4, "lstm", 0.8)
    assert describe_tried(study, proposer.search).endswith(
        "with a sampler that was not recorded; from trial 2 on with the sampler random (seed 0) and no pruner."
    )


def test_best_trials_of_two_objectives_are_not_dominated(command: StudyCommand, tmp_path: Path) -> None:
    proposer = Proposer(command.spec)
    values = {2e-4: [0.9, 50.0], 3e-4: [0.8, 40.0], 4e-4: [0.85, 60.0], 5e-4: [0.9, 55.0], 6e-4: [0.7, 10.0]}
    with Study("t", local_address(tmp_path), has_second_objective=True) as study:
        for lr, pair in values.items():
            key = study._create_running_trial("a worker")
            trial = proposer.make_trial({"lr": lr, "head": "lstm"})
            for name in ("id", "arm", "seed", "axes", "settings"):
                study._storage.set_trial_user_attr(key, name, getattr(trial, name))
            study._storage.set_trial_state_values(key, study.entries()[trial.id].state.COMPLETE, pair)
        best = best_first(read_search_trials(study.entries().values()), higher_is_better=True)
    assert [(each.metric, each.second) for each in best] == [(0.9, 50.0), (0.8, 40.0), (0.7, 10.0)]

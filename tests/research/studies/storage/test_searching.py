"""A search in a study's storage: its budget, repeated settings, pruned trials and their continuation."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from research.settings.config import Choice
from research.studies.grid import StudySpec
from research.studies.search.optuna_objects import create_pruner
from research.studies.search.propose import Proposer
from research.studies.search.spec import SearchSpec
from research.studies.storage.database import local_address
from research.studies.storage.study import Claim, Study


def make_proposer(space: dict[str, Any], **search: Any) -> Proposer:
    return Proposer(StudySpec(search={"space": space, "sampler": "random", **search}, split="validation"))


def ask(study: Study, proposer: Proposer) -> Claim:
    claim = study.ask(proposer, "a worker")
    assert claim is not None
    return claim


def test_workers_that_ask_at_the_same_time_start_exactly_the_budget(tmp_path: Path) -> None:
    proposer = make_proposer({"lr": "0..1"}, trials=7)
    address = local_address(tmp_path)
    Study("s", address).close()
    claims: list[Claim] = []

    def work() -> None:
        with Study("s", address) as study:
            while (claim := study.ask(proposer, "a worker")) is not None:
                claims.append(claim)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({claim.trial.id for claim in claims}) == len(claims) == 7
    with Study("s", address) as study:
        assert len(study.entries()) == 7
        assert not study.is_budget_left(proposer.search)
        larger = make_proposer({"lr": "0..1"}, trials=9)
        assert study.is_budget_left(larger.search)
        assert [study.ask(larger, "a worker") is not None for _ in range(3)] == [True, True, False]


def test_hours_count_the_time_of_all_trials(tmp_path: Path) -> None:
    proposer = make_proposer({"lr": "0..1"}, hours=1)
    with Study("s", local_address(tmp_path)) as study:
        study.finish(ask(study, proposer), 0.5, {}, seconds=1800)
        study.fail(ask(study, proposer), "on purpose", seconds=900)
        assert study.hours_used() == 0.75
        study.use_pruner(create_pruner(Choice("median")))
        study.prune(ask(study, proposer), seconds=900)
        assert study.ask(proposer, "a worker") is None
        # A trial that continues after an interrupt keeps the time that it has used.
        claim = ask(study, make_proposer({"lr": "0..1"}, hours=2))
        study.release(claim, seconds=60)
        continued = study.claim("a worker")
        assert continued is not None
        assert continued.earlier_seconds == 60


def test_repeated_settings_are_not_run_and_a_small_space_ends_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("research.studies.storage.study.MAX_REPEATS", 8)
    proposer = make_proposer({"head": ["linear", "mean"]}, hours=1)
    with Study("s", local_address(tmp_path)) as study:
        heads = []
        while (claim := study.ask(proposer, "a worker")) is not None:
            heads.append(claim.trial.settings["head"])
            study.finish(claim, 0.5, {}, seconds=1)
        assert sorted(heads) == ["linear", "mean"]
        assert study.num_repeats() >= 8
        assert len(study.entries()) == 2
        assert not study.is_budget_left(proposer.search)


def test_trial_whose_worker_died_before_it_had_settings_is_replaced(tmp_path: Path) -> None:
    proposer = make_proposer({"lr": "0..1"}, trials=2)
    with Study("s", local_address(tmp_path)) as study:
        first = ask(study, proposer)
        # As if this process had died right after it created a trial.
        key = study._create_running_trial("a worker")
        study._storage.set_trial_user_attr(key, "started", 0.0)
        second = ask(study, proposer)
        assert study.ask(proposer, "a worker") is None
        study.requeue_dead_trials()
        assert set(study.entries()) == {first.trial.id, second.trial.id}


@pytest.fixture
def pruning_study(tmp_path: Path) -> Any:
    """A study with a finished trial, and a pruner that compares with it."""
    with Study("s", local_address(tmp_path)) as study:
        study.use_pruner(create_pruner(Choice("median", {"n_startup_trials": 1})))
        claim = ask(study, PRUNED)
        assert [study.decide_pruning(claim, percent, 0.5) for percent in (10, 20)] == [False, False]
        study.finish(claim, 0.5, {}, seconds=1)
        yield study


PRUNED = make_proposer({"lr": "0..1"}, trials=3)


def test_pruned_trial_continues_once_promoted_and_is_not_pruned_again(pruning_study: Study) -> None:
    study = pruning_study
    claim = ask(study, PRUNED)
    assert study.decide_pruning(claim, 10, 0.1) is True
    study.prune(claim, seconds=2)
    entry = study.entries()[claim.trial.id]
    assert (entry.status, entry.attributes["pruned_at"], entry.value) == ("pruned", 10, None)
    study.promote(entry)
    promoted = study.claim("a worker")
    assert promoted is not None
    assert (promoted.trial, promoted.is_promoted, promoted.earlier_seconds) == (claim.trial, True, 2)
    # Its death does not make it a pruned trial again.
    study.requeue_killed(promoted)
    again = study.claim("a worker")
    assert again is not None
    assert again.is_promoted
    study.finish(again, 0.9, {}, seconds=5)
    assert [entry.status for entry in study.entries().values()] == ["finished", "finished"]
    assert study.hours_used() == pytest.approx(6 / 3600)
    # Copies do not count against the budget.
    assert study.ask(PRUNED, "a worker") is not None
    assert study.ask(PRUNED, "a worker") is None


def test_trial_that_dies_after_it_was_pruned_is_pruned_and_not_run_again(pruning_study: Study) -> None:
    study = pruning_study
    claim = ask(study, PRUNED)
    assert study.decide_pruning(claim, 10, 0.1)
    study.requeue_killed(claim)
    entry = study.entries()[claim.trial.id]
    assert (entry.status, entry.attributes["pruned_at"]) == ("pruned", 10)
    assert study.claim("a worker") is None
    study.promote(entry)
    promoted = study.claim("a worker")
    assert promoted is not None
    assert promoted.is_promoted


def test_trial_that_dies_keeps_its_evaluations_for_the_pruner(pruning_study: Study) -> None:
    study = pruning_study
    claim = ask(study, PRUNED)
    assert not study.decide_pruning(claim, 10, 0.7)
    study.requeue_killed(claim)
    claim_of_copy = study.claim("a worker")
    assert claim_of_copy is not None
    study.finish(claim_of_copy, 0.7, {}, seconds=1)
    # The median of 0.5 and 0.7 is above 0.55, but 0.5 alone is not.
    assert study.decide_pruning(ask(study, PRUNED), 10, 0.55)


def test_undefined_metrics_are_pruned(pruning_study: Study) -> None:
    claim = ask(pruning_study, PRUNED)
    assert pruning_study.decide_pruning(claim, 10, float("nan"))


def test_failed_trials_run_again_without_counting_twice(tmp_path: Path) -> None:
    proposer = make_proposer({"lr": "0..1"}, trials=2)
    with Study("s", local_address(tmp_path)) as study:
        study.fail(ask(study, proposer), "on purpose")
        study.finish(ask(study, proposer), 0.5, {}, seconds=1)
        assert study.rerun_failed() == 1
        claim = study.claim("a worker")
        assert claim is not None
        study.finish(claim, 0.5, {}, seconds=1)
        assert [entry.status for entry in study.entries().values()] == ["finished", "finished"]
        assert study.rerun_failed() == 0
        assert study.ask(proposer, "a worker") is None


def test_grid_and_search_cannot_continue_each_other(tmp_path: Path) -> None:
    grid, search = StudySpec(), StudySpec(search={"space": {"lr": "0..1"}, "trials": 1}, split="validation")
    with Study("s", local_address(tmp_path)) as study:
        study.refuse_other_kind(search)  # a new study
        study.save_spec(vars(search))
        study.refuse_other_kind(search)
        with pytest.raises(ValueError, match="is a search"):
            study.refuse_other_kind(grid)


def test_states_seen_before_a_trial_has_settings_are_read_again(tmp_path: Path) -> None:
    proposer = make_proposer({"lr": "0..1"}, trials=1)
    with Study("s", local_address(tmp_path)) as study, Study("s", local_address(tmp_path)) as observer:
        key = study._create_running_trial("a worker")
        assert observer.entries() == {}
        trial = study._propose(proposer, 0, key)
        for name in ("id", "arm", "seed", "axes", "settings"):
            study._storage.set_trial_user_attr(key, name, getattr(trial, name))
        study.finish(Claim(trial, key), 0.5, {}, seconds=1)
        assert [entry.state for entry in observer.entries().values()] == [TrialState.COMPLETE]


def test_trial_beyond_the_budget_is_dropped_if_another_worker_was_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proposer = make_proposer({"lr": "0..1"}, trials=1)
    with Study("s", local_address(tmp_path)) as slow, Study("s", local_address(tmp_path)) as fast:
        is_budget_left = slow.is_budget_left

        def decide_slowly(search: SearchSpec) -> bool:
            """Look at the budget, and return the answer only after the other worker has started a trial."""
            answer = is_budget_left(search)
            ask(fast, proposer)
            return answer

        monkeypatch.setattr(slow, "is_budget_left", decide_slowly)
        assert slow.ask(proposer, "a worker") is None
        assert len(slow.entries()) == 1
        # The dropped trial does not count if the budget is increased.
        assert fast.ask(make_proposer({"lr": "0..1"}, trials=2), "a worker") is not None

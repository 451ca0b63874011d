"""In a study's storage, each trial is claimed by one worker, and results count even if the worker was declared dead."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import re
import sqlite3
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy
from optuna.trial import TrialState

from heads.registry import UnknownNameError
from research.studies.grid import StudySpec, expand
from research.studies.storage.database import STORAGE_FILE, local_address
from research.studies.storage.study import Study
from tests.conftest import BackgroundCommand

CLAIM_SCRIPT = """
import sys
import time
from pathlib import Path
from research.studies.storage.study import Study

with Study("a", sys.argv[1]) as study:
    print("ready", flush=True)
    while not Path("go").exists():
        time.sleep(0.001)
    while (claim := study.claim("a worker")) is not None:
        print(claim.trial.id)
"""


def is_ready(worker: BackgroundCommand) -> bool:
    return worker.read_output() == "ready\n"


def age_heartbeats(directory: Path) -> None:
    """Make all heartbeats one hour old."""
    with contextlib.closing(sqlite3.connect(directory / STORAGE_FILE)) as connection, connection:
        changed = connection.execute("UPDATE trial_heartbeats SET heartbeat = datetime('now', '-1 hour')")
        assert changed.rowcount > 0


@pytest.mark.parametrize("second_attempt", ["waiting", "running", "failed", "finished"])
def test_late_result_of_a_worker_declared_dead_counts_if_it_is_the_first(tmp_path: Path, second_attempt: str) -> None:
    # `second_attempt` is the state of the requeued trial when the slow worker reports its result.
    with Study("a", local_address(tmp_path)) as study, Study("a", local_address(tmp_path)) as other_connection:
        study.add(expand(StudySpec()))
        claim = study.claim("slow")
        assert claim is not None
        age_heartbeats(tmp_path)
        other_connection.requeue_dead_trials()
        assert [entry.state for entry in other_connection.entries().values()] == [TrialState.WAITING]
        second_claim = None if second_attempt == "waiting" else other_connection.claim("fast")
        if second_attempt == "failed":
            assert second_claim is not None
            other_connection.fail(second_claim, "the directory is in use")
        if second_attempt == "finished":
            assert second_claim is not None
            other_connection.finish(second_claim, 0.25, {"test": {"accuracy": 0.25}})
        study.finish(claim, 0.75, {"test": {"accuracy": 0.75}}, seconds=2.0)
        if second_attempt == "running":
            assert second_claim is not None
            other_connection.finish(second_claim, 0.25, {"test": {"accuracy": 0.25}})
        (entry,) = other_connection.entries().values()
        assert other_connection.claim("a third worker") is None
    assert (entry.state, entry.value) == (TrialState.COMPLETE, 0.25 if second_attempt == "finished" else 0.75)
    assert entry.attributes["metrics"] == {"test": {"accuracy": entry.value}}


def test_worker_declared_dead_does_not_requeue_its_trial_a_second_time(tmp_path: Path) -> None:
    with Study("a", local_address(tmp_path)) as study, Study("a", local_address(tmp_path)) as other_connection:
        study.add(expand(StudySpec()))
        claim = study.claim("slow")
        assert claim is not None
        age_heartbeats(tmp_path)
        other_connection.requeue_dead_trials()
        assert other_connection.claim("fast") is not None
        study.requeue_killed(claim)  # the slow worker's run is killed after the trial was claimed again
        assert other_connection.claim("another") is None


def test_each_trial_is_claimed_by_only_one_worker(tmp_path: Path) -> None:
    trials = expand(StudySpec(grid={"seed": list(range(60))}))
    with Study("a", local_address(tmp_path)) as study:
        study.add(trials)
    (tmp_path / "claims.py").write_text(CLAIM_SCRIPT)
    command = [sys.executable, str(tmp_path / "claims.py"), local_address(tmp_path)]
    workers = [
        BackgroundCommand(command, tmp_path, dict(os.environ), tmp_path / f"{number}.txt") for number in range(4)
    ]
    for worker in workers:
        worker.wait_for("first line", functools.partial(is_ready, worker))
    (tmp_path / "go").touch()
    assert [worker.wait() for worker in workers] == [0] * 4
    claimed = [line for worker in workers for line in worker.read_output().split()[1:]]  # without "ready"
    assert sorted(claimed) == sorted(trial.id for trial in trials)


@pytest.mark.parametrize("num_seeds", [30, 120])
def test_adding_trials_uses_few_transactions_and_polling_uses_few_statements(tmp_path: Path, num_seeds: int) -> None:
    statements: list[str] = []

    def record(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        statements.append(statement)

    trials = expand(StudySpec(grid={"seed": list(range(num_seeds))}))
    with Study("a", local_address(tmp_path)) as study, Study("a", local_address(tmp_path)) as other_connection:
        sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", record)
        try:
            assert study.add(trials) == num_seeds
            assert sum(statement.startswith("BEGIN") for statement in statements) < 10
            study.entries()  # reads all trials
            statements.clear()
            study.entries()
            assert len(statements) == 2  # BEGIN and one SELECT
        finally:
            sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", record)
        claim = other_connection.claim("another worker")
        assert claim is not None
        assert study.entries()[claim.trial.id].attributes["worker"] == "another worker"
        other_connection.set_attributes(claim, seconds=1.5)
        assert study.entries()[claim.trial.id].attributes["seconds"] == 1.5
        assert list(study.entries()) == [trial.id for trial in trials]


def test_dropped_waiting_trials_can_be_added_again(tmp_path: Path) -> None:
    trials = expand(StudySpec(grid={"seed": [0, 1, 2]}))
    with Study("a", local_address(tmp_path)) as study:
        study.add(trials)
        claim = study.claim("a worker")
        assert claim is not None
        assert claim.trial.id == trials[0].id
        # The running trial is never dropped, and trials[1] is named as a trial to keep.
        assert study.drop_waiting(ids_to_keep={trials[1].id}) == 1
        assert list(study.entries()) == [trials[0].id, trials[1].id]
        assert study.add(trials) == 1
        assert study.entries()[trials[2].id].state == TrialState.WAITING


def test_missing_storage_is_refused_and_not_created(tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    with pytest.raises(ValueError, match=re.escape(f"{file} ")):
        Study("a", f"sqlite:///{file}", must_exist=True)
    assert not file.exists()


def test_failure_to_open_a_study_closes_the_connections(tmp_path: Path) -> None:
    with Study("a", local_address(tmp_path)):
        pass
    with pytest.raises(UnknownNameError):
        Study("b", local_address(tmp_path), must_exist=True)
    assert str(tmp_path / STORAGE_FILE) not in [file.path for file in psutil.Process().open_files()]


def test_storage_keeps_the_first_metric_and_split_of_a_study(tmp_path: Path) -> None:
    with Study("a", local_address(tmp_path)) as study:
        assert study.save_spec(dataclasses.asdict(StudySpec(metric="mcc"))) is None
        message = study.save_spec(dataclasses.asdict(StudySpec(metric="auroc", split="validation")))
        assert message is not None
        assert re.search(r"\bmcc\b.*\btest\b", message)
        assert (study.spec().metric, study.spec().split) == ("mcc", "test")

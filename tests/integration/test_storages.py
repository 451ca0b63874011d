"""Studies in a real PostgreSQL, and in the eyes of optuna-dashboard."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy
from optuna.trial import TrialState
from sqlalchemy.exc import OperationalError

from research.studies.grid import StudySpec, expand
from research.studies.storage.patience import Patience
from research.studies.storage.study import Study, local_address
from tests.limits import HANG_LIMIT

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]
INITDB = shutil.which("initdb") or next((str(folder / "initdb") for folder in BINARIES), None)
needs_postgresql = pytest.mark.skipif(INITDB is None, reason="needs PostgreSQL (Debian: apt-get install postgresql)")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_until_heard(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + HANG_LIMIT
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        assert process.poll() is None, "the server ended"
        assert time.monotonic() < end, "the server is not heard"
        time.sleep(0.1)


class Server:
    """A PostgreSQL that can be stopped and started again.

    Args:
        folder: where its data lie, which another user may enter: as root the server refuses to run.
    """

    def __init__(self, folder: Path) -> None:
        assert INITDB is not None
        self._user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
        if self._user:
            shutil.chown(folder, "nobody", "nogroup")
        self._port = free_port()
        data = str(folder / "data")
        postgres = str(Path(INITDB).with_name("postgres"))
        self._command = [*self._user, postgres, "-D", data, "-p", str(self._port), "-k", str(folder), "-F"]
        initdb = [*self._user, INITDB, "-D", data, "-U", "midway", "--auth=trust", "--no-sync"]
        subprocess.run(initdb, check=True, capture_output=True, cwd="/")
        self.address = f"postgresql+psycopg://midway@127.0.0.1:{self._port}/postgres"
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, cwd="/", stderr=subprocess.DEVNULL)
        wait_until_heard(self._port, self._process)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)  # PostgreSQL's "fast" shutdown: sessions are ended
        self._process.wait()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    # Not below pytest's folders, which no other user may enter.
    with tempfile.TemporaryDirectory(prefix="postgresql-") as folder:
        server = Server(Path(folder))
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def postgresql(server: Server) -> str:
    """The address of a database in a server of its own."""
    return server.address


@needs_postgresql
def test_study_in_postgresql_gives_each_trial_to_one_worker(postgresql: str) -> None:
    with Study("shared", postgresql) as first, Study("shared", postgresql) as second:
        _share(first, second)


def _share(first: Study, second: Study) -> None:
    trials = expand(StudySpec(grid={"head": ["linear", "lstm"], "seed": [0, 1]}))
    assert first.add(trials) == 4
    assert second.add(trials) == 0
    claims = [study.claim("a worker") for study in (first, second, first, second, first)]
    assert claims.pop() is None
    taken = [claim for claim in claims if claim is not None]
    assert sorted(claim.trial.id for claim in taken) == sorted(trial.id for trial in trials)
    first.finish(taken[0], 0.5, {"test": {"accuracy": 0.5}})
    first.finish(taken[1], None, {"test": {"accuracy": None}})
    first.fail(taken[2], "too hot")
    second.put_back(taken[3])
    found = {entry.trial.id: entry for entry in second.entries().values()}
    states = [found[claim.trial.id].state for claim in taken]
    assert states == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.WAITING]
    assert found[taken[0].trial.id].value == 0.5
    assert found[taken[2].trial.id].attributes["error"] == "too hot"
    assert found[taken[0].trial.id].trial.settings == taken[0].trial.settings


@needs_postgresql
def test_worker_of_another_machine_takes_trials(
    postgresql: str, tmp_path: Path, tiny_encoder: Path, tiny_reviews: Path, user_environment: dict[str, str]
) -> None:
    spec = StudySpec(
        name="far",
        base={"encoder": str(tiny_encoder), "data": str(tiny_reviews), "max_length": 16, "freeze": ["encoder"]},
        grid={"seed": [0, 1]},
    )
    with Study("far", postgresql) as study:
        study.describe(vars(spec))
        study.add(expand(spec))
    script = Path(__file__).parents[2] / "experiments" / "ablate.py"
    command = [sys.executable, str(script), "work", "--study", "far", "--storage", postgresql]
    environment = {**os.environ, **user_environment}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=HANG_LIMIT)
    with Study("far", postgresql) as study:
        entries = list(study.entries().values())
    assert [entry.state for entry in entries] == [TrialState.COMPLETE] * 2
    for entry in entries:
        result = json.loads((tmp_path / "runs/far/trials" / entry.trial.id / "result.json").read_text())
        assert result["metrics"]["test"]["accuracy"] == entry.value


@needs_postgresql
def test_outage_of_the_database_ends_neither_calls_nor_the_heartbeat(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("research.studies.storage.study.HEARTBEAT_SECONDS", 0.1)
    with Study("outage", server.address) as study, Study("outage", server.address) as supervisor:
        study.add(expand(StudySpec(grid={"seed": [0, 1]})))
        claim = study.claim("a worker")
        assert claim is not None
        with study.beating(claim):
            server.stop()
            again = threading.Timer(3, server.start)
            again.start()
            states = {entry.state for entry in supervisor.entries().values()}  # waits until the server is back
            again.join()
            assert states == {TrialState.RUNNING, TrialState.WAITING}
            before = heartbeats(server.address)
            end = time.monotonic() + HANG_LIMIT
            while heartbeats(server.address) == before:
                assert time.monotonic() < end, "the heartbeat ended with the outage"
                time.sleep(0.1)
        server.stop()
        again = threading.Timer(3, server.start)
        again.start()
        study.finish(claim, 0.5, {"test": {"accuracy": 0.5}})
        again.join()
        found = supervisor.entries()[claim.trial.id]
    assert (found.state, found.value) == (TrialState.COMPLETE, 0.5)


def heartbeats(address: str) -> list[Any]:
    with psycopg.connect(address.replace("+psycopg", "")) as connection:
        return connection.execute("select trial_id, heartbeat from trial_heartbeats order by trial_id").fetchall()


@pytest.mark.parametrize("copy", ["waits", "runs", "failed", "finished"])
def test_result_of_a_worker_that_was_taken_for_dead_counts(
    tmp_path: Path, copy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("research.studies.storage.study.GRACE_SECONDS", 1)
    with Study("a", local_address(tmp_path)) as study, Study("a", local_address(tmp_path)) as other:
        study.add(expand(StudySpec()))
        claim = study.claim("slow")
        assert claim is not None
        time.sleep(2.1)  # the storage counts whole seconds
        other.bury_dead_workers()
        assert [entry.state for entry in other.entries().values()] == [TrialState.WAITING]
        second = None if copy == "waits" else other.claim("fast")
        if copy == "failed":
            assert second is not None
            other.fail(second, "the directory is in use")
        if copy == "finished":
            assert second is not None
            other.finish(second, 0.25, {"test": {"accuracy": 0.25}})
        study.finish(claim, 0.75, {"test": {"accuracy": 0.75}}, seconds=2.0)
        if copy == "runs":
            assert second is not None
            other.finish(second, 0.25, {"test": {"accuracy": 0.25}})
        (found,) = other.entries().values()
        assert other.claim("a third one") is None
    assert (found.state, found.value) == (TrialState.COMPLETE, 0.25 if copy == "finished" else 0.75)
    assert found.attributes["metrics"] == {"test": {"accuracy": found.value}}


def test_worker_that_was_taken_for_dead_queues_no_second_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("research.studies.storage.study.GRACE_SECONDS", 1)
    with Study("a", local_address(tmp_path)) as study, Study("a", local_address(tmp_path)) as other:
        study.add(expand(StudySpec()))
        claim = study.claim("slow")
        assert claim is not None
        time.sleep(2.1)
        other.bury_dead_workers()
        assert other.claim("fast") is not None
        study.try_again(claim)  # its run was killed later
        assert other.claim("another") is None


def test_waiting_for_a_storage_ends_when_asked(tmp_path: Path) -> None:
    patience = Patience("The storage", gives_up=lambda: True)
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'a.db'}", connect_args={"timeout": 0})
    with contextlib.closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as locked:
        locked.execute("create table a (b)")
        locked.execute("begin exclusive")
        with pytest.raises(OperationalError):
            patience.call(lambda: engine.connect().exec_driver_sql("select * from a"))
    engine.dispose()
    assert patience.last_outage is None


def test_dashboard_opens_the_study(tmp_path: Path) -> None:
    with Study("seen", local_address(tmp_path)) as study:
        study.add(expand(StudySpec(grid={"head": ["linear", "lstm"], "lr": [1e-5, 1e-4]})))
        claim = study.claim("a worker")
        assert claim is not None
        study.finish(claim, 0.75, {"test": {"accuracy": 0.75}})
        # A grid that grew by a head, which Optuna's list of choices does not have.
        study.add(expand(StudySpec(grid={"head": ["linear", "lstm", "mlp"], "lr": [1e-5, 1e-4]})))
    port = free_port()
    program = Path(sys.executable).with_name("optuna-dashboard")
    command = [str(program), local_address(tmp_path), "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until_heard(port, process)
            address = f"http://127.0.0.1:{port}/api/studies"
            with urllib.request.urlopen(address, timeout=HANG_LIMIT) as answer:
                (summary,) = json.load(answer)["study_summaries"]
            with urllib.request.urlopen(f"{address}/{summary['study_id']}", timeout=HANG_LIMIT) as answer:
                shown = json.load(answer)["trials"]
        finally:
            process.terminate()
    assert summary["study_name"] == "seen"
    assert len(shown) == 6
    (finished,) = [trial for trial in shown if trial["state"] == "Complete"]
    assert finished["values"] == [0.75]
    assert {item["name"]: item["param_external_value"] for item in finished["params"]}["head"] == "linear"


def test_file_gives_each_trial_to_one_of_several_workers(tmp_path: Path) -> None:
    trials = expand(StudySpec(grid={"seed": list(range(60))}))
    with Study("a", local_address(tmp_path)) as study:
        study.add(trials)
    code = """
import sys
from research.studies.storage.patience import Patience
from research.studies.storage.study import Study
with Study("a", sys.argv[1]) as study:
    print("ready", flush=True)
    input()
    while (claim := study.claim("a worker")) is not None:
        print(claim.trial.id)
"""
    command = [sys.executable, "-c", code, local_address(tmp_path)]
    workers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    claimed = [line for worker in workers for line in worker.communicate(timeout=HANG_LIMIT)[0].split()]
    assert [worker.returncode for worker in workers] == [0] * 4
    assert sorted(claimed) == sorted(trial.id for trial in trials)


@pytest.mark.parametrize("num_seeds", [30, 120])
def test_planning_takes_few_transactions_and_polling_few_statements(tmp_path: Path, num_seeds: int) -> None:
    statements: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        statements.append(statement)

    trials = expand(StudySpec(grid={"seed": list(range(num_seeds))}))
    with Study("a", local_address(tmp_path)) as study, Study("a", local_address(tmp_path)) as other:
        sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", note)
        try:
            assert study.add(trials) == num_seeds
            assert sum(statement.startswith("BEGIN") for statement in statements) < 10
            study.entries()
            statements.clear()
            study.entries()
            assert len(statements) == 2  # a transaction and a query
        finally:
            sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", note)
        claim = other.claim("another worker")
        assert claim is not None
        assert study.entries()[claim.trial.id].attributes["worker"] == "another worker"
        other.note(claim, seconds=1.5)
        assert study.entries()[claim.trial.id].attributes["seconds"] == 1.5
        assert list(study.entries()) == [trial.id for trial in trials]


def test_waiting_trials_are_dropped_and_come_back_when_asked_for(tmp_path: Path) -> None:
    trials = expand(StudySpec(grid={"seed": [0, 1, 2]}))
    with Study("a", local_address(tmp_path)) as study:
        study.add(trials)
        claim = study.claim("a worker")
        assert claim is not None
        assert claim.trial.id == trials[0].id
        assert study.drop_waiting({trials[1].id}) == 1  # not the one that runs
        assert list(study.entries()) == [trials[0].id, trials[1].id]
        assert study.add(trials) == 1
        assert study.entries()[trials[2].id].state == TrialState.WAITING


def test_storage_that_is_not_there_is_refused_and_not_made(tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    with pytest.raises(ValueError, match="There is no storage"):
        Study("a", f"sqlite:///{file}", must_exist=True)
    assert not file.exists()


def test_study_that_compares_another_metric_now_keeps_its_own_in_the_storage(tmp_path: Path) -> None:
    with Study("a", local_address(tmp_path)) as study:
        assert study.describe(dataclasses.asdict(StudySpec(metric="mcc"))) is None
        said = study.describe(dataclasses.asdict(StudySpec(metric="auroc", split="validation")))
        assert said == "The study's storage and its table keep mcc on test rows, with which it began."
        assert (study.spec().metric, study.spec().split) == ("mcc", "test")

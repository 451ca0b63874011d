"""Studies in a real PostgreSQL database, and in optuna-dashboard."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any

import psycopg
import pytest
from optuna.trial import TrialState

from research.studies.grid import StudySpec, expand
from research.studies.storage.database import local_address
from research.studies.storage.study import Study
from tests.builders.postgresql import PostgresqlServer, find_free_port, needs_postgresql
from tests.builders.workplace import Workplace
from tests.limits import HANG_LIMIT, wait_until


def wait_until_reachable(port: int, process: subprocess.Popen[bytes]) -> None:
    def is_reachable() -> bool:
        assert process.poll() is None, "the server has ended"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        return False

    wait_until(is_reachable, "the server to accept connections")


@needs_postgresql
def test_study_in_postgresql_gives_each_trial_to_one_worker(postgresql_address: str) -> None:
    with Study("shared", postgresql_address) as first, Study("shared", postgresql_address) as second:
        trials = expand(StudySpec(grid={"head": ["linear", "lstm"], "seed": [0, 1]}))
        assert first.add(trials) == 4
        assert second.add(trials) == 0
        attempts = [study.claim("a worker") for study in (first, second, first, second, first)]
        assert attempts.pop() is None  # all four trials are taken
        claims = [claim for claim in attempts if claim is not None]
        assert sorted(claim.trial.id for claim in claims) == sorted(trial.id for trial in trials)
        first.finish(claims[0], 0.5, {"test": {"accuracy": 0.5}})
        first.finish(claims[1], None, {"test": {"accuracy": None}})  # the metric is undefined
        first.fail(claims[2], "failed on purpose")
        second.release(claims[3])
        entries = {entry.trial.id: entry for entry in second.entries().values()}
        statuses = [entries[claim.trial.id].status for claim in claims]
        assert statuses == ["finished", "finished", "failed", "waiting"]
        assert entries[claims[0].trial.id].value == 0.5
        assert entries[claims[2].trial.id].attributes["error"] == "failed on purpose"
        assert entries[claims[0].trial.id].trial.settings == claims[0].trial.settings


@needs_postgresql
def test_worker_that_knows_only_the_storage_runs_the_trials(
    postgresql_address: str, tmp_path: Path, tiny_encoder: Path, tiny_reviews: Path, user_environment: dict[str, str]
) -> None:
    spec = StudySpec(
        name="remote",
        base={"encoder": str(tiny_encoder), "data": str(tiny_reviews), "max_length": 16, "freeze": ["encoder"]},
        grid={"seed": [0, 1]},
    )
    with Study("remote", postgresql_address) as study:
        study.save_spec(vars(spec))
        study.add(expand(spec))
    script = Path(__file__).parents[2] / "experiments" / "ablate.py"
    command = [sys.executable, str(script), "work", "--study", "remote", "--storage", postgresql_address]
    environment = {**os.environ, **user_environment}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=HANG_LIMIT)
    with Study("remote", postgresql_address) as study:
        entries = list(study.entries().values())
    assert [entry.state for entry in entries] == [TrialState.COMPLETE] * 2
    for entry in entries:
        result = json.loads((tmp_path / "runs/remote/trials" / entry.trial.id / "result.json").read_text())
        assert result["metrics"]["test"]["accuracy"] == entry.value


@needs_postgresql
def test_calls_and_heartbeat_survive_an_outage_of_the_database(
    server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("research.studies.storage.study.HEARTBEAT_SECONDS", 0.1)
    with Study("outage", server.address) as study, Study("outage", server.address) as supervisor:

        def restart_server_after_outage(client: Study) -> threading.Thread:
            """Start a thread that starts the server once the client has noticed the outage."""
            previous_outage = client.retry_policy.last_outage

            def start_server() -> None:
                wait_until(lambda: client.retry_policy.last_outage != previous_outage, "the outage")
                server.start()

            thread = threading.Thread(target=start_server, daemon=True)
            thread.start()
            return thread

        study.add(expand(StudySpec(grid={"seed": [0, 1]})))
        claim = study.claim("a worker")
        assert claim is not None
        with study.sending_heartbeats(claim):
            server.stop()
            restart_thread = restart_server_after_outage(supervisor)
            states = {entry.state for entry in supervisor.entries().values()}  # returns only after the restart
            restart_thread.join()
            assert states == {TrialState.RUNNING, TrialState.WAITING}
            previous_heartbeats = read_heartbeats(server.address)
            wait_until(lambda: read_heartbeats(server.address) != previous_heartbeats, "a heartbeat after the outage")
        server.stop()
        restart_thread = restart_server_after_outage(study)
        study.finish(claim, 0.5, {"test": {"accuracy": 0.5}})
        restart_thread.join()
        entry = supervisor.entries()[claim.trial.id]
    assert (entry.state, entry.value) == (TrialState.COMPLETE, 0.5)


def read_heartbeats(address: str) -> list[Any]:
    """Return the time of the last heartbeat of each running trial."""
    with psycopg.connect(address.replace("+psycopg", "")) as connection:
        return connection.execute("select trial_id, heartbeat from trial_heartbeats order by trial_id").fetchall()


def test_dashboard_shows_the_study(tmp_path: Path) -> None:
    with Study("dashboard", local_address(tmp_path)) as study:
        study.add(expand(StudySpec(grid={"head": ["linear", "lstm"], "lr": [1e-5, 1e-4]})))
        claim = study.claim("a worker")
        assert claim is not None
        study.finish(claim, 0.75, {"test": {"accuracy": 0.75}})
        # A larger grid. Its head mlp is not among the choices that Optuna stored with the first trials.
        study.add(expand(StudySpec(grid={"head": ["linear", "lstm", "mlp"], "lr": [1e-5, 1e-4]})))
    port = find_free_port()
    program = Path(sys.executable).with_name("optuna-dashboard")
    command = [str(program), local_address(tmp_path), "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until_reachable(port, process)
            address = f"http://127.0.0.1:{port}/api/studies"
            with urllib.request.urlopen(address, timeout=HANG_LIMIT) as response:
                (summary,) = json.load(response)["study_summaries"]
            with urllib.request.urlopen(f"{address}/{summary['study_id']}", timeout=HANG_LIMIT) as response:
                shown_trials = json.load(response)["trials"]
        finally:
            process.terminate()
    assert summary["study_name"] == "dashboard"
    assert len(shown_trials) == 6
    (finished,) = [trial for trial in shown_trials if trial["state"] == "Complete"]
    assert finished["values"] == [0.75]
    assert {item["name"]: item["param_external_value"] for item in finished["params"]}["head"] == "linear"


@needs_postgresql
def test_search_survives_a_restart_of_the_database(server: PostgresqlServer, workplace: Workplace) -> None:
    flags = ["--search", "head_lr=1e-5..1e-1:log", "--sampler", "random", "--trials", "4", "--pruner", "median"]
    flags += ["--freeze", "encoder", "--epochs", "2", "--evaluate_every", "2st", "--storage", server.address]
    (workplace.folder / "pause.txt").touch()
    command = workplace.start(*flags, "--plugin", "pausing.py", "--hook", "pausing")
    wait_until(lambda: any(workplace.folder.glob("paused-*-0.txt")), "the pause in step 3")
    server.stop()
    (workplace.folder / "pause.txt").unlink()
    # The next evaluation asks the study whether the trial goes on, and waits for the database.
    logs = workplace.folder / "runs/s/logs"
    wait_until(
        lambda: (
            "does not respond" in command.read_output()
            or any("does not respond" in path.read_text() for path in logs.glob("*.txt"))
        ),
        "the outage to be noticed",
    )
    server.start()
    assert command.wait() == 0, command.read_output()
    with Study("s", server.address) as study:
        statuses = [entry.status for entry in study.entries().values()]
    assert len(statuses) == 4
    assert set(statuses) <= {"finished", "pruned"}

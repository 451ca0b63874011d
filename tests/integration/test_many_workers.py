"""Four workers share a PostgreSQL database; one is killed with its run, and one is in another network namespace."""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from research.studies.grid import StudySpec, expand
from research.studies.storage.study import Study
from research.studies.storage.trials import DROPPED
from tests.builders.postgresql import PostgresqlServer, needs_postgresql
from tests.builders.workplace import Workplace
from tests.conftest import ROOT, BackgroundCommand
from tests.limits import wait_until
from tests.scripts.network import LOOPBACK, NamespaceError, Network, two_namespaces

NUM_WORKERS = 4
NUM_TRIALS = 6
VICTIM = 1
"""Number of the worker that is killed."""
STUDIES: dict[str, dict[str, Any]] = {
    "grid": {"grid": {"seed": list(range(NUM_TRIALS))}},
    "search": {"search": {"space": {"lr": "1e-4..1e-2:log"}, "trials": NUM_TRIALS}, "split": "validation"},
}


@pytest.fixture(scope="module", params=["namespaces", pytest.param("loopback", marks=pytest.mark.slow)])
def network(request: pytest.FixtureRequest) -> Iterator[Network]:
    """The network of the database and the workers. Skips the test if network namespaces cannot be created."""
    if request.param == "loopback":
        yield LOOPBACK
        return
    try:
        with two_namespaces() as network:
            yield network
    except NamespaceError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def namespace_server(network: Network) -> Iterator[PostgresqlServer]:
    """A PostgreSQL server on the first node of the network."""
    namespace = None if network.namespaces is None else network.namespaces[0]
    # Not in tmp_path, since the server's user cannot enter pytest's folders.
    with tempfile.TemporaryDirectory(prefix="postgresql-") as folder:
        server = PostgresqlServer(Path(folder), network.addresses[0], namespace)
        try:
            yield server
        finally:
            server.stop()


def start_worker(workplace: Workplace, server: PostgresqlServer, study: str, network: Network) -> BackgroundCommand:
    """Start a worker; the last of the workers runs on the second node of the network."""
    number = len(workplace.started)
    command = [sys.executable, str(ROOT / "experiments" / "ablate.py"), "work", "--study", study]
    command += ["--storage", server.address, "--num_workers", str(NUM_WORKERS)]
    environment = workplace.environment | network.environment(int(number == NUM_WORKERS - 1))
    output = workplace.folder / f"worker-{number}.txt"
    workplace.started.append(BackgroundCommand(command, workplace.folder, environment, output))
    return workplace.started[-1]


def count_states(server: PostgresqlServer, study: str) -> Counter[str]:
    """Return how many rows of the database have each state. A trial whose worker died has two rows.

    Rows that were dropped do not count: workers of a search that need a trial at the same time may all create a row,
    and drop those that exceed the number of trials before they run.
    """
    statement = """
        select state::text from trials join studies using (study_id)
        where study_name = %s
        and trial_id not in (select trial_id from trial_user_attributes where key = %s)
    """
    with psycopg.connect(server.url) as connection:
        return Counter(state for (state,) in connection.execute(statement, [study, DROPPED]).fetchall())


@needs_postgresql
@pytest.mark.parametrize("kind", STUDIES)
def test_every_trial_ends_exactly_once_although_a_worker_and_its_run_are_killed(
    workplace: Workplace,
    tiny_encoder: Path,
    tiny_reviews: Path,
    namespace_server: PostgresqlServer,
    network: Network,
    kind: str,
) -> None:
    server, study = namespace_server, f"{kind}-{network.interface}"
    address = server.url.replace("postgresql", "postgresql+psycopg", 1)
    base = {"encoder": str(tiny_encoder), "data": str(tiny_reviews), "max_length": 16, "batch_size": 8, "lr": 1e-3}
    base |= {"plugin": ["pausing.py"], "hook": ["pausing"], "save_every": "1st", "log_with": [], "report": False}
    spec = StudySpec(name=study, base=base, **STUDIES[kind])
    (workplace.folder / "pause.txt").touch()
    with Study(study, address) as storage:
        storage.save_spec(vars(spec))
        if kind == "grid":
            storage.add(expand(spec))
    workers = [start_worker(workplace, server, study, network) for _ in range(NUM_WORKERS)]
    wait_until(lambda: len([*workplace.folder.glob("paused-*.txt")]) == NUM_WORKERS, "each worker's trial to pause")
    with Study(study, address) as storage:
        running = [entry for entry in storage.entries().values() if entry.status == "running"]
    (killed,) = [entry for entry in running if entry.attributes["pid"] == workers[VICTIM].process.pid]
    assert len(running) == NUM_WORKERS
    workers[VICTIM].kill()  # with its run
    (workplace.folder / "pause.txt").unlink()
    survivors = [worker for number, worker in enumerate(workers) if number != VICTIM]
    assert [worker.wait() for worker in survivors] == [0] * len(survivors), [each.read_output() for each in survivors]

    with Study(study, address) as storage:
        entries = storage.entries()
    assert [entry.status for entry in entries.values()] == ["finished"] * NUM_TRIALS
    # Nothing but the row of the killed trial and the results: no trial ran twice, and none was proposed in excess.
    assert count_states(server, study) == {"COMPLETE": NUM_TRIALS, "FAIL": 1}
    assert [trial for trial, entry in entries.items() if entry.attributes.get("deaths")] == [killed.trial.id]
    assert len(workplace.read_lines("resumes.txt")) == 1
    for trial, entry in entries.items():
        path = workplace.folder / "runs" / study / "trials" / trial / "result.json"
        assert json.loads(path.read_text())["metrics"][spec.split]["accuracy"] == entry.value

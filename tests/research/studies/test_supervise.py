"""Workers are started while trials are waiting; a study ends with an error if its workers cannot start."""

from __future__ import annotations

import io
import signal
from pathlib import Path

import pytest
from optuna.trial import TrialState

from research.studies.devices import DeviceAssignment
from research.studies.grid import StudySpec, expand
from research.studies.storage.database import local_address
from research.studies.storage.study import Study
from research.studies.supervise import Supervisor
from research.system.terminal import Terminal

TRIALS = expand(StudySpec(name="a", grid={"seed": [0, 1]}))
DEVICES = DeviceAssignment((), num_workers=1, num_processes=1)


def test_finished_study_starts_no_workers(tmp_path: Path) -> None:
    with Study("a", local_address(tmp_path)) as study:
        study.add(expand(StudySpec(name="a", grid={"seed": [0, 1, 2]})))
        for _ in TRIALS:
            claim = study.claim("a worker")
            assert claim is not None
            study.finish(claim, 0.5, {"test": {"accuracy": 0.5}}, seconds=1.0)
        # The third trial is waiting and belongs to a different grid.
        assert Supervisor(study, TRIALS, tmp_path, DEVICES).run(Terminal(file=io.StringIO())) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study.db"]


def test_error_quotes_the_worker_log_if_workers_die_before_they_claim_a_trial(tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    with Study("a", local_address(tmp_path)) as study:
        study.add(TRIALS)
        # Workers cannot start without this file.
        devices = DeviceAssignment((), num_workers=2, num_processes=1)
        supervisor = Supervisor(study, TRIALS, tmp_path, devices, accelerate_config=str(tmp_path / "missing.yaml"))
        with pytest.raises(ValueError, match=r"--accelerate_config .*missing\.yaml"):
            supervisor.run(Terminal(file=io.StringIO()))
        assert [entry.state for entry in study.entries().values()] == [TrialState.WAITING] * 2
    assert signal.getsignal(signal.SIGTERM) == handler, "the signal handler was not restored"

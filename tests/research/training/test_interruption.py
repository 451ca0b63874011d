"""Signals end a run with a message and an exit code."""

from __future__ import annotations

import os
import signal

import pytest

from research.system.signals import Interrupted
from research.training.interruption import Interruption
from tests.research.conftest import StartRun


def test_interruption_ends_the_run_and_names_the_checkpoint(start_run: StartRun) -> None:
    run = start_run()
    run.interruption.exit_if_agreed(run.clock)  # does nothing without a signal
    with run.interruption.watch:
        os.kill(os.getpid(), signal.SIGTERM)
        run.interruption.poll()
    assert run.signal == signal.SIGTERM
    (run.directory / "checkpoints" / "step-00000002").mkdir(parents=True)
    expected = f"SIGTERM .*step 0 of 4; saved in .*step-00000002.*{run.directory} .*--resume auto"
    with pytest.raises(Interrupted, match=expected) as caught:
        run.interruption.exit_if_agreed(run.clock)
    assert caught.value.exit_code == 128 + signal.SIGTERM


def test_interruption_of_the_last_evaluations_names_the_trained_model(start_run: StartRun) -> None:
    run = start_run()
    run.interruption.signal = signal.SIGTERM
    with pytest.raises(Interrupted, match=r"no checkpoint .*--save_every is not set\.$"):
        run.interruption.exit_if_agreed(run.clock)
    (run.directory / "model").mkdir(parents=True)
    with pytest.raises(Interrupted, match=f"--save_every is not set; the trained model is in {run.directory}/model"):
        run.interruption.exit_if_agreed(run.clock)


def test_processes_other_than_the_main_one_exit_with_a_code_and_no_message(start_run: StartRun) -> None:
    run = start_run()
    interruption = Interruption(is_main=False, directory=run.directory)
    interruption.signal = signal.SIGTERM
    with pytest.raises(SystemExit) as caught:
        interruption.exit_if_agreed(run.clock)
    assert caught.value.code == 128 + signal.SIGTERM

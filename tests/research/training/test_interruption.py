"""Signals end a run with a message and an exit code."""

from __future__ import annotations

import os
import signal

import pytest

from research import Hook
from research.system.signals import Interrupted, Paused
from research.training.api import Run
from research.training.interruption import Interruption
from research.training.loop import train
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


class SendAfterStep2(Hook):
    """Send a signal to this process after step 2; 0 sends none."""

    def __init__(self, number: int) -> None:
        self.number = number

    def after_step(self, run: Run) -> None:
        if run.clock.step == 2:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("received", [0, signal.SIGTERM])
def test_pause_is_no_error_and_reports_a_signal_that_arrived_at_the_same_step(
    start_run: StartRun, received: int
) -> None:
    run = start_run([SendAfterStep2(received)], pause_at="50%")
    with run.interruption.watch, pytest.raises(Paused, match=r"step 2 of 4; saved in .*step-00000002") as caught:
        train(run)
    assert (caught.value.exit_code, caught.value.received_signal) == (0, received)

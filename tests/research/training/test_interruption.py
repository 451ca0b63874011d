"""A signal ends a run after the step that it came in."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from research.settings.times import Clock
from research.system.signals import Interrupted
from research.training.interruption import Interruption

CLOCK = Clock(steps_per_epoch=10, total_steps=20, batch_size=8, step=3)


@pytest.mark.parametrize("everywhere", [False, True])
def test_signal_ends_the_run_and_names_what_is_saved(tmp_path: Path, everywhere: bool) -> None:
    interruption = Interruption(is_main=True, directory=tmp_path)
    with interruption.watch:
        interruption.poll()
        interruption.leave_if_agreed(CLOCK)  # nothing came
        os.kill(os.getpid(), signal.SIGTERM)
        interruption.leave_if_agreed(CLOCK)  # nobody has asked
        poll = interruption.poll_everywhere if everywhere else interruption.poll
        poll()
    assert interruption.signal == signal.SIGTERM
    with pytest.raises(Interrupted, match=rf"SIGTERM .*step 3 of 20; nothing .*{tmp_path} .*--resume auto") as caught:
        interruption.leave_if_agreed(CLOCK)
    assert caught.value.exit_code == 128 + signal.SIGTERM
    (tmp_path / "checkpoints" / "step-00000002").mkdir(parents=True)
    with pytest.raises(Interrupted, match=rf"{tmp_path}/checkpoints/step-00000002\b"):
        interruption.leave_if_agreed(CLOCK)


def test_other_processes_leave_without_a_message(tmp_path: Path) -> None:
    interruption = Interruption(is_main=False, directory=tmp_path)
    interruption.signal = signal.SIGINT
    with pytest.raises(SystemExit) as caught:
        interruption.leave_if_agreed(CLOCK)
    assert caught.value.code == 128 + signal.SIGINT

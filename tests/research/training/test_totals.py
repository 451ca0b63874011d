"""Sums over the steps of a run."""

from __future__ import annotations

import dataclasses
import time

import pytest

from research.records.results import write_config
from research.training.checkpoint.save import save_checkpoint
from research.training.totals import Totals
from tests.research.conftest import StartRun


def test_device_seconds_multiplies_this_session_by_its_processes_and_adds_earlier_sessions() -> None:
    totals = Totals(earlier_device_seconds=50.0, started=time.perf_counter() - 10)
    assert totals.device_seconds(1) == pytest.approx(60, abs=1)
    assert totals.device_seconds(3) == pytest.approx(80, abs=3)


def test_resumed_run_continues_the_device_seconds_of_its_checkpoint_and_a_fork_does_not(start_run: StartRun) -> None:
    run = start_run()
    run.clock.advance(num_examples=8)
    run.totals = dataclasses.replace(run.totals, earlier_device_seconds=1000.0)
    write_config(run.directory, run.config)  # forks need it
    checkpoint = save_checkpoint(run, keep=1)
    assert start_run(resume=checkpoint).totals.earlier_device_seconds == pytest.approx(1000, abs=100)
    assert start_run(fork=f"{run.directory}@step-1").totals.earlier_device_seconds == 0

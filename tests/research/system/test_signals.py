"""Signals that a run receives are recorded, and output to a closed terminal is discarded."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from research.system.signals import SignalWatch, discard_lost_output


@pytest.fixture(autouse=True)
def default_sighup_handler() -> Iterator[None]:
    """Use the default handler of SIGHUP during each test."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def test_second_sighup_does_not_end_the_process() -> None:
    with SignalWatch(reports=False) as watch:
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)
        assert watch.received_signal() == signal.SIGHUP
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL


def test_warning_of_slurm_after_a_preemption_does_not_end_the_process() -> None:
    with SignalWatch(reports=False) as watch:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert watch.received_signal() == signal.SIGTERM


def test_sighup_stays_ignored_under_nohup() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with SignalWatch(reports=False) as watch:
        os.kill(os.getpid(), signal.SIGHUP)
        assert watch.received_signal() == 0  # none


def test_discard_lost_output_redirects_only_closed_output() -> None:
    master, terminal = os.openpty()
    source, sink = os.pipe()
    os.close(master)
    with pytest.raises(OSError, match="Input/output error"):
        os.write(terminal, b"lost")
    discard_lost_output((terminal, sink))
    assert os.write(terminal, b"lost") == 4
    os.write(sink, b"kept")
    assert os.read(source, 9) == b"kept"
    for descriptor in (terminal, source, sink):
        os.close(descriptor)

"""An error that is raised in every process of a run is printed exactly once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from research.system.one_report import claim_report


def test_each_error_is_reported_by_one_process_per_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    environment = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    for name, value in (environment | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port)}).items():
        monkeypatch.setenv(name, value)
    # The second call with "first" stands for another process that has the same error.
    assert [claim_report(message) for message in ("first", "first", "second")] == [True, False, True]
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert claim_report("first")


def test_every_process_reports_if_there_is_no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(claim_report("one") for _ in range(2))  # a single process always reports
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert all(claim_report("one") for _ in range(2))
    monkeypatch.setattr("research.system.one_report.CONNECT_TIMEOUT", timedelta(milliseconds=50))
    for name, value in {"TORCHELASTIC_USE_AGENT_STORE": "True", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    assert claim_report("one")  # nothing listens on port 1

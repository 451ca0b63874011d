"""Calls are retried while a database does not respond."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy.exc import OperationalError

from research.studies.storage.retry import Heartbeat, RetryPolicy, is_outage
from tests.limits import HANG_LIMIT
from tests.messages import collect_messages


@contextlib.contextmanager
def locked_database(path: Path) -> Iterator[sqlite3.Connection]:
    """Keep a database locked by a second connection until that connection ends its transaction."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as connection:
        connection.execute("create table a (b)")
        connection.execute("begin exclusive")
        yield connection


def test_call_is_not_retried_if_the_process_should_stop(tmp_path: Path) -> None:
    policy = RetryPolicy("The storage", should_stop=lambda: True)
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'a.db'}", connect_args={"timeout": 0})
    with locked_database(tmp_path / "a.db"), engine.connect() as reader, pytest.raises(OperationalError):
        policy.call(lambda: reader.exec_driver_sql("select * from a"))
    engine.dispose()
    assert policy.last_outage is None


def test_call_is_retried_until_the_storage_responds(tmp_path: Path) -> None:
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'a.db'}", connect_args={"timeout": 0})
    num_calls = 0
    with locked_database(tmp_path / "a.db") as connection, collect_messages() as lines:

        def call() -> int:
            nonlocal num_calls
            num_calls += 1
            if num_calls == 2:
                connection.execute("rollback")
            with engine.connect() as reader:
                return len(reader.exec_driver_sql("select * from a").all())

        policy = RetryPolicy("The storage")
        assert policy.call(call) == 0
    engine.dispose()
    assert num_calls == 2
    assert policy.last_outage is not None
    # One message that the storage does not respond, and one that it responds again.
    assert [line.startswith("The storage ") for line in lines] == [True, True]


def test_error_in_the_statement_is_not_an_outage(tmp_path: Path) -> None:
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'a.db'}")
    num_calls = 0

    def query() -> None:
        nonlocal num_calls
        num_calls += 1
        with engine.connect() as connection:
            connection.exec_driver_sql("select * from nothing")

    with pytest.raises(OperationalError) as caught:
        RetryPolicy("The storage").call(query)
    engine.dispose()
    assert (num_calls, is_outage(caught.value), is_outage(ValueError("other"))) == (1, False, False)


def test_heartbeat_continues_after_a_failure() -> None:
    beats: list[int] = []
    enough_beats = threading.Event()

    def beat() -> None:
        beats.append(len(beats))
        if len(beats) == 2:
            raise OSError("no network")
        if len(beats) == 4:
            enough_beats.set()

    with collect_messages() as lines:
        heartbeat = Heartbeat(beat, seconds=0.001)
        heartbeat.start()
        assert enough_beats.wait(HANG_LIMIT)
        heartbeat.stop()
    assert len(beats) >= 4
    assert ["no network" in line for line in lines] == [True]
    assert not heartbeat.is_alive()

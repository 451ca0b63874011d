"""Transactions lock a study's database file, and errors of a database are reported without the password."""

from __future__ import annotations

from pathlib import Path

import pytest
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from sqlalchemy import create_engine, text

from research.studies.storage.database import (
    engine_arguments,
    local_address,
    lock_at_transaction_start,
    translate_database_errors,
    without_password,
)
from tests.builders.hostile import assert_one_line


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("postgresql+psycopg://me:secret@host:5432/db", "postgresql+psycopg://me@host:5432/db"),
        ("postgresql://me:a@b:c@host/db", "postgresql://me@host/db"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("sqlite:///runs/a/study.db", "sqlite:///runs/a/study.db"),
    ],
)
def test_password_is_not_shown(address: str, expected: str) -> None:
    assert without_password(address) == expected


def test_database_error_is_one_line_without_the_password() -> None:
    with (
        pytest.raises(ValueError, match="me@host") as caught,
        translate_database_errors("postgresql://me:secret@host/db"),
    ):
        raise StorageInternalError("lost\nconnection [SQL: SELECT 1]")
    assert_one_line(caught.value)
    assert "secret" not in str(caught.value)
    assert "SELECT" not in str(caught.value)
    # An error that does not come from the database is raised unchanged.
    with pytest.raises(UpdateFinishedTrialError), translate_database_errors("sqlite:///a.db"):
        raise UpdateFinishedTrialError


def test_beginning_a_transaction_locks_the_file(tmp_path: Path) -> None:
    engines = [create_engine(local_address(tmp_path), connect_args={"timeout": 0}) for _ in range(2)]
    for engine in engines:
        lock_at_transaction_start(engine)
    with engines[0].begin() as first:
        first.execute(text("SELECT 1"))  # SQLite would otherwise allow other transactions during one that only reads
        with pytest.raises(ValueError, match="locked"), translate_database_errors("sqlite:///a.db"), engines[1].begin():
            pass
    with engines[1].begin():
        pass
    for engine in engines:
        engine.dispose()


def test_engine_arguments_of_a_server_check_that_the_connection_is_alive() -> None:
    assert engine_arguments("sqlite:///a.db").keys() == {"connect_args"}
    for address in ("postgresql+psycopg://host/db", "mysql://host/db"):
        assert engine_arguments(address)["pool_pre_ping"] is True
    assert engine_arguments("postgresql://host/db")["connect_args"]["keepalives_idle"] > 0

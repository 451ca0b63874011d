"""The database that a study lies in: its address, how it is connected to, and what it says when it cannot be used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError

from research.system.errors import one_line

if TYPE_CHECKING:
    from sqlalchemy import Engine

STORAGE_FILE = "study.db"
"""A study's own file, in its directory."""


def local_address(directory: Path) -> str:
    """Return the address of a study's own file."""
    return f"sqlite:///{directory / STORAGE_FILE}"


def engine_arguments(address: str) -> dict[str, Any]:
    """Return what SQLAlchemy's engine is made with, by the kind of database."""
    if address.startswith("sqlite"):
        return {"connect_args": {"timeout": 60}}  # workers on one machine write to one file: each waits for its turn
    if not address.startswith(("postgresql+psycopg", "postgresql:")):
        return {"pool_pre_ping": True}
    # A server that is gone without a word must be noticed before the worker is taken for dead.
    alive = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 25_000}
    return {"pool_pre_ping": True, "connect_args": {"connect_timeout": 10, **alive}}


def lock_from_the_beginning(engine: Engine) -> None:
    """Let each transaction with SQLite have the file to itself from its beginning.

    Otherwise two workers that read at the same time that a trial waits both take it: SQLite has no SELECT FOR UPDATE,
    with which Optuna keeps others out elsewhere. See https://docs.sqlalchemy.org/en/20/dialects/sqlite.html.
    """
    # Imported by Optuna already.
    from sqlalchemy import event

    @event.listens_for(engine, "connect")
    def leave_transactions_to_us(connection: Any, record: Any) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine.dispose()  # connections of before


@contextmanager
def reporting(address: str) -> Iterator[None]:
    """Turn what a database says into one line.

    Raises:
        ValueError: if it cannot be reached, or written to.
    """
    # Imported by Optuna already.
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except UpdateFinishedTrialError:  # of Optuna's own, and no fault of the database
        raise
    except (SQLAlchemyError, StorageInternalError, ImportError, RuntimeError) as error:
        reason = one_line(error.__cause__ or error).split("[SQL:")[0].split("(Background")[0]
        raise ValueError(f"The study's storage {without_password(address)} cannot be used: {reason.strip()}") from error


def without_password(address: str) -> str:
    """Return a database's address as messages may show it."""
    head, at, tail = address.rpartition("@")
    if not at:
        return address
    scheme, _, login = head.partition("://")
    return f"{scheme}://{login.partition(':')[0]}@{tail}"

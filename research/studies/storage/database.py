"""Connection to the database of a study: address, engine arguments, locking and error messages."""

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
"""Name of the SQLite file in a study's directory, which is the default storage."""


def local_address(directory: Path) -> str:
    """Return the address of the SQLite file in a study's directory."""
    return f"sqlite:///{directory / STORAGE_FILE}"


def engine_arguments(address: str) -> dict[str, Any]:
    """Return the arguments for SQLAlchemy's engine, which depend on the kind of database."""
    if address.startswith("sqlite"):
        return {"connect_args": {"timeout": 60}}  # all workers write to the same file and wait for each other
    if not address.startswith(("postgresql+psycopg", "postgresql:")):
        return {"pool_pre_ping": True}
    # A server that disappears without closing the connection must be noticed before the worker counts as dead.
    keepalive = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 25_000}
    return {"pool_pre_ping": True, "connect_args": {"connect_timeout": 10, **keepalive}}


def lock_at_transaction_start(engine: Engine) -> None:
    """Make every transaction lock the SQLite file when it begins.

    Otherwise two workers that read the same waiting trial at the same time would both take it: SQLite has no
    SELECT FOR UPDATE, which Optuna uses to prevent this with other databases.
    See https://docs.sqlalchemy.org/en/20/dialects/sqlite.html.
    """
    # Optuna has already imported SQLAlchemy.
    from sqlalchemy import event

    @event.listens_for(engine, "connect")
    def disable_driver_transactions(connection: Any, record: Any) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine.dispose()  # closes connections that were opened without these listeners


@contextmanager
def translate_database_errors(address: str) -> Iterator[None]:
    """Turn errors of a database into errors with a one-line message.

    Raises:
        ValueError: if the database cannot be reached or written to.
    """
    # Optuna has already imported SQLAlchemy.
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except UpdateFinishedTrialError:  # raised by Optuna itself; the database works
        raise
    except (SQLAlchemyError, StorageInternalError, ImportError, RuntimeError) as error:
        reason = one_line(error.__cause__ or error).split("[SQL:")[0].split("(Background")[0]
        raise ValueError(f"Cannot use the study's storage {without_password(address)}: {reason.strip()}") from error


def without_password(address: str) -> str:
    """Return a database's address without its password, so that messages can show it."""
    before_host, at, host = address.rpartition("@")
    if not at:
        return address
    scheme, _, login = before_host.partition("://")
    return f"{scheme}://{login.partition(':')[0]}@{host}"

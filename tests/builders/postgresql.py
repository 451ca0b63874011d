"""A real PostgreSQL server for tests."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import psycopg
import pytest

from tests.limits import wait_until

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]
INITDB = shutil.which("initdb") or next((str(folder / "initdb") for folder in BINARIES), None)
needs_postgresql = pytest.mark.skipif(
    INITDB is None, reason="requires PostgreSQL; not found (Debian: apt-get install postgresql)"
)


def find_free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class PostgresqlServer:
    """A PostgreSQL server that can be stopped and started again.

    Args:
        folder: folder for the server's data. If the tests run as root, the server runs as the user nobody, since it
            refuses to run as root. That user must be able to enter the folder.
        host: IP address at which clients reach the server.
        namespace: name of the network namespace in which the server runs; None for that of the tests.
    """

    def __init__(self, folder: Path, host: str = "127.0.0.1", namespace: str | None = None) -> None:
        assert INITDB is not None
        self._user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
        if self._user:
            shutil.chown(folder, "nobody", "nogroup")
        self._port = find_free_port()
        data = str(folder / "data")
        postgres = str(Path(INITDB).with_name("postgres"))
        enter = [] if namespace is None else ["nsenter", f"--net=/run/netns/{namespace}"]
        self._command = [*enter, *self._user, postgres, "-D", data, "-h", host, "-p", str(self._port)]
        self._command += ["-k", str(folder), "-F"]
        initdb = [*self._user, INITDB, "-D", data, "-U", "midway", "--auth=trust", "--no-sync"]
        subprocess.run(initdb, check=True, capture_output=True, cwd="/")
        with (folder / "data" / "pg_hba.conf").open("a") as access_rules:
            access_rules.write(f"host all all {host}/24 trust\n")
        self.address = f"postgresql+psycopg://midway@{host}:{self._port}/postgres"
        self.url = f"postgresql://midway@/postgres?host={folder}&port={self._port}"
        """Address of the server's socket, which works in every network namespace, for psycopg."""
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, cwd="/", stderr=subprocess.DEVNULL)
        wait_until(self._accepts_sessions, "the server to accept sessions")

    def _accepts_sessions(self) -> bool:
        assert self._process.poll() is None, "the server has ended"
        # The port is reachable before the server has started up.
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.url, connect_timeout=2):
            return True
        return False

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)  # PostgreSQL's "fast" shutdown, which ends open sessions
        self._process.wait()

"""A local stand-in for the part of the Hugging Face Hub that serves the files of a data set."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.builders.served import served

COMMIT = "a" * 40
"""The only commit of the data set."""


class HubDataStandIn(ThreadingHTTPServer):
    """The server, which gives the same files for every name of a data set.

    Args:
        folder: the files of the data set.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.served: list[tuple[str, int, int]] = []
        """Name, start and stop of each part of a file that was sent."""

    @property
    def address(self) -> str:
        """The value of HF_ENDPOINT."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: HubDataStandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Print nothing."""

    def do_HEAD(self) -> None:
        """Answer as GET does, without a body."""
        self.do_GET()

    def do_GET(self) -> None:
        """Answer /datasets/<name>/resolve/<revision>/<file>, /api/datasets/<name> and .../tree/<revision>."""
        path = urlsplit(self.path).path
        files = sorted(file for file in self.server.folder.iterdir())
        if (resolved := re.fullmatch(r"/datasets/.*/resolve/[^/]+/(.*)", path)) is not None:
            self._send_file(resolved[1])
        elif "/tree/" in path:
            entries = [
                {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": "0" * 40} for file in files
            ]
            self._answer(200, json.dumps(entries).encode())
        elif path.startswith("/api/datasets/"):
            siblings = [{"rfilename": file.name} for file in files]
            name = "/".join(path.split("/")[3:5])
            info = {"_id": "1", "id": name, "sha": COMMIT, "private": False, "tags": [], "siblings": siblings}
            self._answer(200, json.dumps(info).encode())
        else:
            self._answer(404, b"{}")

    def _send_file(self, name: str) -> None:
        file = self.server.folder / name
        if not file.exists():
            self._answer(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        content = file.read_bytes()
        headers = {"ETag": f'"{len(content)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
        if wanted is None or self.command == "HEAD":
            self._answer(200, content, headers)
            return
        start, stop = int(wanted[1]), min(int(wanted[2]) + 1, len(content))
        self.server.served.append((name, start, stop))
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
        self._answer(206, content[start:stop], headers)

    def _answer(self, status: int, body: bytes, headers: Mapping[str, Any] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def hub_data_stand_in(folder: Path) -> Iterator[HubDataStandIn]:
    """Serve the files of a folder as a data set during a context."""
    with served(HubDataStandIn(folder)) as server:
        yield server

"""A local stand-in for the API of the Hugging Face Hub: repositories, and commits of regular files."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.builders.served import served

TOKEN = "hf_valid"
READ_TOKEN = "hf_read"
USER = "someone"
_MODELS = "/api/models/"


class HubStandIn(ThreadingHTTPServer):
    """The server, with the files that were uploaded."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        """Files of each repository, by their names."""
        self.private: dict[str, bool] = {}
        """Whether each repository is private."""

    @property
    def address(self) -> str:
        """The value of HF_ENDPOINT."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: HubStandIn

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Print nothing."""

    def do_GET(self) -> None:
        """Answer /api/whoami-v2 and /api/models/<repository>."""
        self._read()
        if self._is_refused():
            return
        if self.path.startswith(_MODELS):
            name = self.path.removeprefix(_MODELS)
            if name in self.server.repositories:
                self._answer(200, {"id": name, "private": self.server.private.get(name, False)})
            else:
                self._answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        else:
            self._answer(200, {"name": USER, "type": "user", "auth": {"type": "access_token"}})

    def do_POST(self) -> None:
        """Create a repository, answer how files are uploaded, or commit files."""
        body = self._read()
        if self._is_refused():
            return
        path = self.path.split("?")[0]
        if self.headers["Authorization"] == f"Bearer {READ_TOKEN}":
            self._answer(403, {"error": "You don't have the rights"})
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif "/preupload/" in path:
            files = json.loads(body)["files"]
            modes = [{"path": each["path"], "uploadMode": "regular", "shouldIgnore": False} for each in files]
            self._answer(200, {"files": modes})
        elif "/commit/" in path:
            self._commit(path.removeprefix(_MODELS).split("/commit/")[0], body)
        else:
            self._answer(404, {"error": f"unknown path {path}"})

    def _create(self, request: dict[str, Any]) -> None:
        name = f"{request.get('organization') or USER}/{request['name']}"
        if name in self.server.repositories:
            self._answer(409, {"error": "You already created this model repo", "url": f"{self.server.address}/{name}"})
            return
        self.server.repositories[name] = {}
        self.server.private[name] = bool(request.get("private") or request.get("visibility") == "private")
        self._answer(200, {"url": f"{self.server.address}/{name}", "name": name})

    def _commit(self, repository: str, body: bytes) -> None:
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                value = line["value"]
                self.server.repositories[repository][value["path"]] = base64.b64decode(value["content"])
        url = f"{self.server.address}/{repository}/commit/0"
        self._answer(200, {"commitUrl": url, "commitOid": "0" * 40, "success": True})

    def _read(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _is_refused(self) -> bool:
        if self.headers["Authorization"] in (f"Bearer {TOKEN}", f"Bearer {READ_TOKEN}"):
            return False
        self._answer(401, {"error": "Invalid credentials"})
        return True

    def _answer(self, status: int, content: dict[str, Any], headers: Mapping[str, str] | None = None) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def hub_stand_in() -> Iterator[HubStandIn]:
    """Run the server during a context."""
    with served(HubStandIn()) as server:
        yield server

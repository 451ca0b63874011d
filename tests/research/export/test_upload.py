"""Upload a folder to a local stand-in for the Hugging Face Hub.

The client reads HF_ENDPOINT when it is imported, so that each upload needs a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders.hub_stand_in import READ_TOKEN, TOKEN, HubStandIn, hub_stand_in
from tests.conftest import ROOT

UPLOAD = """
import sys
from pathlib import Path
from research.export.upload import check_upload, upload
folder, repository, private, overwrite = sys.argv[1:]
try:
    options = {"private": private == "1", "overwrite": overwrite == "1"}
    check_upload(repository, **options)
    print(upload(Path(folder), repository, **options))
except ValueError as error:
    assert "\\n" not in str(error)
    sys.exit(f"refused: {error}")
"""


@pytest.fixture
def hub() -> Iterator[HubStandIn]:
    """A running stand-in without repositories."""
    with hub_stand_in() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small folder."""
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 10)
    return folder


def upload(
    folder: Path, address: str, token: str | None = TOKEN, *, repository: str = "someone/model", **options: bool
) -> subprocess.CompletedProcess[str]:
    """Upload a folder in a new process, with or without a token."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_ENDPOINT": address, "HF_HOME": str(folder.parent / "home"), "PYTHONPATH": str(ROOT)}
    environment |= {"HF_TOKEN": token} if token else {}
    flags = ["1" if options.get(name) else "0" for name in ("private", "overwrite")]
    return subprocess.run(
        [sys.executable, "-c", UPLOAD, str(folder), repository, *flags],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("private", [False, True])
def test_upload_creates_a_repository_with_all_files(hub: HubStandIn, folder: Path, private: bool) -> None:
    completed = upload(folder, hub.address, private=private)
    assert completed.returncode == 0, completed.stderr
    assert completed.stdout.strip() == f"{hub.address}/someone/model"
    assert hub.repositories == {"someone/model": {path.name: path.read_bytes() for path in folder.iterdir()}}
    assert hub.private == {"someone/model": private}


def test_upload_changes_an_existing_repository_only_with_overwrite(hub: HubStandIn, folder: Path) -> None:
    hub.repositories["someone/model"] = {"old": b""}
    refused = upload(folder, hub.address)
    assert refused.returncode == 1
    assert "someone/model" in refused.stderr
    assert "exists" in refused.stderr
    assert hub.repositories == {"someone/model": {"old": b""}}
    assert upload(folder, hub.address, overwrite=True).returncode == 0
    assert set(hub.repositories["someone/model"]) == {"old", "config.json", "model.safetensors"}


def test_private_upload_into_a_public_repository_is_refused(hub: HubStandIn, folder: Path) -> None:
    hub.repositories["someone/model"] = {"old": b""}
    refused = upload(folder, hub.address, private=True, overwrite=True)
    assert refused.returncode == 1
    assert "someone/model" in refused.stderr
    assert "is public" in refused.stderr
    assert hub.repositories == {"someone/model": {"old": b""}}
    hub.private["someone/model"] = True
    assert upload(folder, hub.address, private=True, overwrite=True).returncode == 0


@pytest.mark.parametrize(
    ("token", "repository", "reason"),
    [
        (None, "someone/model", "needs a token"),
        ("hf_wrong", "someone/model", "not valid"),
        (READ_TOKEN, "someone/model", "may not write"),
        (TOKEN, "model", "USER/NAME"),
        (TOKEN, "some one/model", "USER/NAME"),
    ],
)
def test_upload_is_refused_in_one_line(
    hub: HubStandIn, folder: Path, token: str | None, repository: str, reason: str
) -> None:
    completed = upload(folder, hub.address, token, repository=repository)
    assert completed.returncode == 1
    assert completed.stderr.startswith("refused: ")
    assert reason in completed.stderr
    assert hub.repositories == {}


def test_upload_reports_a_missing_connection(folder: Path) -> None:
    with hub_stand_in() as server:
        address = server.address
    completed = upload(folder, address)
    assert completed.stderr.startswith("refused: ")
    assert "cannot be reached" in completed.stderr

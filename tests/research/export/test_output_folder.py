"""The folder of an export is complete or absent."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from research.export.output_folder import check_output, writing_folder
from research.model.saved_models import EXPORT_RECORD
from research.system.durable import StorageError

RECORD = {"format": "hub", "native": False}


def test_writing_folder_publishes_the_folder_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "new" / "export"
    with writing_folder(target, RECORD, needed=1) as folder:
        (folder / "file").write_text("content")
        assert not target.exists()
    assert {path.name for path in target.iterdir()} == {"file", EXPORT_RECORD}
    assert json.loads((target / EXPORT_RECORD).read_text())["format"] == "hub"
    assert [path.name for path in target.parent.iterdir()] == ["export"]


def test_writing_folder_leaves_nothing_after_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match="exists"),
        writing_folder(tmp_path / "new" / "export", RECORD, needed=1) as folder,
    ):
        folder.mkdir()
    assert list(tmp_path.iterdir()) == []


def test_writing_folder_keeps_an_earlier_export_if_the_disk_is_full(tmp_path: Path) -> None:
    with writing_folder(tmp_path / "export", RECORD, needed=1) as folder:
        (folder / "old").write_text("content")
    with pytest.raises(StorageError, match="No space"), writing_folder(tmp_path / "export", RECORD, needed=1):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert [path.name for path in tmp_path.iterdir()] == ["export"]
    assert (tmp_path / "export" / "old").exists()


def test_check_output_refuses_what_an_export_must_not_replace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("")
    with writing_folder(tmp_path / "export", RECORD, needed=1):
        pass
    for name, overwrite, message in (
        ("file", True, "is a file"),
        ("other", False, "exists"),
        ("other", True, "not written by export.py"),
        ("export", False, "--overwrite"),
    ):
        with pytest.raises(ValueError, match=message):
            check_output(tmp_path / name, overwrite=overwrite)
    with pytest.raises(StorageError, match="is not a folder"):
        check_output(tmp_path / "file" / "export", overwrite=False)
    monkeypatch.chdir(tmp_path / "empty")
    for path in (Path(), Path("..")):
        with pytest.raises(ValueError, match="name of a new folder"):
            check_output(path, overwrite=True)
    for name in ("absent", "empty", "export"):
        check_output(tmp_path / name, overwrite=True)
    check_output(tmp_path / "empty", overwrite=False)

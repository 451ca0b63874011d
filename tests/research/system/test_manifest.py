"""Manifests detect changes in a folder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from research.system.manifest import CHECKPOINT_FORMAT, MANIFEST, file_sha256, find_damage, write_manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two files and a manifest."""
    (tmp_path / "inner").mkdir()
    (tmp_path / "weights").write_bytes(b"abc")
    (tmp_path / "inner" / "state").write_bytes(b"")
    write_manifest(tmp_path)
    return tmp_path


def test_manifest_lists_all_files_except_itself(folder: Path) -> None:
    write_manifest(folder)  # replaces the manifest of the fixture
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    assert manifest == {
        "format": CHECKPOINT_FORMAT,
        "files": {
            "inner/state": {"bytes": 0, "sha256": hashlib.sha256(b"").hexdigest()},
            "weights": {"bytes": 3, "sha256": hashlib.sha256(b"abc").hexdigest()},
        },
    }
    assert find_damage(folder) is None


def test_file_sha256_hashes_files_longer_than_one_chunk(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000  # a chunk is 1 MiB
    (tmp_path / "file").write_bytes(content)
    assert file_sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("content", [b"abd", b"ab", b"abcd", None])
def test_find_damage_reports_the_changed_file(folder: Path, content: bytes | None) -> None:
    if content is None:
        (folder / "weights").unlink()
    else:
        (folder / "weights").write_bytes(content)
    assert "weights" in (find_damage(folder) or "")


def test_find_damage_reports_a_link(folder: Path) -> None:
    (folder / "linked_weights").symlink_to(folder / "weights")
    assert "linked_weights" in (find_damage(folder) or "")


WITHOUT_SIZE_AND_HASH = json.dumps({"format": CHECKPOINT_FORMAT, "files": {"weights": {}}})


@pytest.mark.parametrize("manifest", ["", "[]", "{}", WITHOUT_SIZE_AND_HASH, None])
def test_find_damage_reports_an_unreadable_manifest(folder: Path, manifest: str | None) -> None:
    if manifest is None:
        (folder / MANIFEST).unlink()
    else:
        (folder / MANIFEST).write_text(manifest, encoding="utf-8")
    assert "manifest" in (find_damage(folder) or "")


def test_find_damage_reports_unknown_formats_and_files_outside_the_folder(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    (folder / MANIFEST).write_text(json.dumps({**manifest, "format": CHECKPOINT_FORMAT + 1}), encoding="utf-8")
    assert str(CHECKPOINT_FORMAT + 1) in (find_damage(folder) or "")
    outside = folder.parent / "outside"
    outside.write_bytes(b"abc")
    manifest["files"] = {"../outside": manifest["files"]["weights"]}
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    assert "../outside" in (find_damage(folder) or "")

"""Manifest of a checkpoint's folder: its files, with their sizes and hashes."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from pathlib import Path

CHECKPOINT_FORMAT = 5
"""Format of checkpoints; other formats cannot be read."""
MANIFEST = "manifest.json"
FileFacts = dict[str, int | str]
"""What a manifest says of a file."""


def write_manifest(folder: Path, described: Mapping[str, FileFacts] | None = None) -> None:
    """Write the manifest of a folder's current content.

    Args:
        folder: the folder.
        described: size and hash of some of its files, which are not read again.
    """
    files = dict(described or {})
    for file in folder.rglob("*"):
        name = file.relative_to(folder).as_posix()
        if file.is_file() and name != MANIFEST and name not in files:
            files[name] = describe_file(file)
    (folder / MANIFEST).write_text(
        json.dumps({"format": CHECKPOINT_FORMAT, "files": dict(sorted(files.items()))}, indent=2), encoding="utf-8"
    )


def describe_file(file: Path) -> FileFacts:
    """Return what a manifest says of a file: its size and its hash."""
    return {"bytes": file.stat().st_size, "sha256": file_sha256(file)}


def find_damage(folder: Path) -> str | None:
    """Describe the first damage in a folder; return None if there is none.

    Damage is a manifest that cannot be read or has a different format, a file that is missing or differs from the
    manifest, or a link. Files that are not in the manifest are ignored.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        manifest_format, files = manifest["format"], manifest["files"]
        expected = {str(name): (int(facts["bytes"]), str(facts["sha256"])) for name, facts in files.items()}
    except OSError as error:
        return f"its manifest cannot be read ({error.strerror})"
    except (ValueError, LookupError, TypeError, AttributeError):
        return "its manifest is damaged"
    if manifest_format != CHECKPOINT_FORMAT:
        return f"it has format {manifest_format}, this version of Midway reads only format {CHECKPOINT_FORMAT}"
    damaged_files = (_describe_damage(folder, name, *facts) for name, facts in expected.items())
    links = (f"{path.relative_to(folder)} is a link" for path in folder.rglob("*") if path.is_symlink())
    return next(filter(None, itertools.chain(damaged_files, links)), None)


def _describe_damage(folder: Path, name: str, num_bytes: int, sha256: str) -> str | None:
    try:
        return _describe_difference(folder, name, num_bytes, sha256)
    except OSError as error:
        return f"{name} cannot be read ({error.strerror})"


def _describe_difference(folder: Path, name: str, num_bytes: int, sha256: str) -> str | None:
    file = folder / name
    if not file.resolve().is_relative_to(folder.resolve()):  # the name contains .., or a link leads outside
        return f"its manifest names a file outside the folder ({name})"
    if not file.is_file():
        return f"{name} is missing"
    if file.stat().st_size != num_bytes:
        return f"{name} has {file.stat().st_size:,} bytes instead of {num_bytes:,}"
    return None if file_sha256(file) == sha256 else f"{name} does not match its SHA-256 hash"


def file_sha256(file: Path) -> str:
    """Return the SHA-256 hash of a file, reading it in chunks."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()

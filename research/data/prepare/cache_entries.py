"""The entries of the cache: which there are, when each was last used, and which to remove when the cache is too large.

Every process holds a shared lock on each entry that it reads or writes. An entry is only removed under an exclusive
lock, so an entry in use is never removed. The time of last use is the modification time of the entry's folder.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import time
import weakref
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from research.system.durable import format_bytes
from research.system.lock import LockFile, LocksUnsupportedError
from research.system.messages import logger

MANIFEST = "manifest.json"
"""File of an entry with its facts, and under `about` with what the entry contains."""
SIZE_VARIABLE = "MIDWAY_CACHE_SIZE"
"""Environment variable with the maximum size of the cache, such as 50GB."""
_BYTES_PER_UNIT = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_COMPLETE = re.compile(r"(rows|tokens|features)-[0-9a-f]+(-last|-all)?")
_INCOMPLETE = re.compile(r"\.(rows|tokens|features)-\S+")
"""Folders that a process fills, or left behind when it was killed. The cache may be in a folder with other files, which
have other names and are not touched."""
_EVICTION_LOCK = ".eviction.lock"
_REMOVING = ".evicting"
_MIN_AGE_OF_LEFTOVERS = 60.0
"""A folder of an incomplete entry is only removed this many seconds after it has changed: it is created before it is
locked."""


class Lease:
    """Shared lock on a folder of the cache, held until the object is deleted or the process ends.

    Args:
        descriptor: open descriptor of the folder, which the object closes.
    """

    def __init__(self, descriptor: int) -> None:
        weakref.finalize(self, os.close, descriptor)


def lease(folder: Path) -> Lease | None:
    """Protect a folder of the cache from being removed, and record that it is used now; None if it does not exist.

    On a file system without locks, the folder is not locked, but then no process removes entries there.

    Raises:
        OSError: if the folder cannot be read.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    lock = Lease(descriptor)
    with suppress(OSError):  # no locks
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    if not _is_at(folder, descriptor):  # removed in the meantime
        return None
    with suppress(OSError):  # the entry belongs to another user, whose cache this process may only read
        os.utime(descriptor)
    return lock


@dataclass(frozen=True)
class CacheEntry:
    """An entry of the cache, or an incomplete one."""

    path: Path
    """Folder of the entry."""
    num_bytes: int
    """Size of its files."""
    last_used: float
    """Time of last use, in seconds since the epoch."""
    about: Mapping[str, Any]
    """What the entry contains: `data`, `encoder`, `split` and number of `rows`, as far as they apply and are known."""

    @property
    def kind(self) -> str:
        """Kind of the entry: rows, tokens or features; `incomplete` if it is being written, or was left by a kill."""
        return self.path.name.partition("-")[0] if _COMPLETE.fullmatch(self.path.name) else "incomplete"

    def is_in_use(self) -> bool:
        """Return whether a process reads or writes the entry, or may do so because locks are not supported."""
        descriptor = self._lock_for_removal()
        if descriptor is None:
            return self.path.exists()
        os.close(descriptor)
        return False

    def remove(self) -> bool:
        """Remove the entry unless it is in use; return whether it was removed.

        Raises:
            OSError: if the files cannot be removed.
        """
        descriptor = self._lock_for_removal()
        if descriptor is None:
            return False
        # Rename the folder first, so that no partly removed entry keeps the name.
        renamed = self.path
        try:
            if self.path.suffix != _REMOVING:
                renamed = self.path.with_name(f".{self.path.name.removeprefix('.')}{_REMOVING}")
                self.path.rename(renamed)
        finally:
            os.close(descriptor)
        shutil.rmtree(renamed)
        return True

    def _lock_for_removal(self) -> int | None:
        """Return the descriptor of the locked folder; None if the entry is in use, too new, or cannot be locked."""
        if self.kind == "incomplete" and time.time() - self.last_used < _MIN_AGE_OF_LEFTOVERS:
            return None
        if not os.access(self.path, os.W_OK | os.X_OK):  # belongs to another user
            return None
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # in use, or no locks
            os.close(descriptor)
            return None
        if not _is_at(self.path, descriptor):
            os.close(descriptor)
            return None
        return descriptor


def find_entries(folder: Path) -> list[CacheEntry]:
    """Return the entries of a cache, the one that was not used for the longest time first."""
    entries = []
    with suppress(FileNotFoundError):
        for path in folder.iterdir():
            if _COMPLETE.fullmatch(path.name) or _INCOMPLETE.fullmatch(path.name):
                with suppress(OSError):  # removed in the meantime, or belongs to another user
                    if path.is_dir() and not path.is_symlink():
                        entries.append(CacheEntry(path, _size_of(path), path.stat().st_mtime, _read_about(path)))
    return sorted(entries, key=lambda entry: (entry.last_used, entry.path.name))


def size_limit() -> int | None:
    """Return the maximum size of the cache in bytes, from MIDWAY_CACHE_SIZE; None if it is not set.

    Raises:
        ValueError: if it is not a size.
    """
    text = os.environ.get(SIZE_VARIABLE, "").strip()
    if not text:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?B)", text.upper())
    num_bytes = 0 if match is None else round(float(match[1]) * _BYTES_PER_UNIT[match[2]])
    if num_bytes <= 0:
        raise ValueError(f"Expected {SIZE_VARIABLE} to be a size such as 50GB, 800MB or 1.5TB; got '{text}'.")
    return num_bytes


def evict_least_used(folder: Path) -> None:
    """Remove the entries that were not used for the longest time, until the cache is within MIDWAY_CACHE_SIZE.

    Entries in use are kept. A message reports what was removed, and a warning that the cache is still too large.
    """
    limit = size_limit()
    if limit is None:
        return
    lock = LockFile(folder / _EVICTION_LOCK)  # otherwise, two processes at once would remove twice as much as needed
    try:
        lock.acquire(wait=True)
    except LocksUnsupportedError as problem:
        logger.warning(f"{SIZE_VARIABLE} is ignored, because {folder} cannot be locked ({problem}).")
        return
    try:
        entries = find_entries(folder)
        total = sum(entry.num_bytes for entry in entries)
        removed = []
        for entry in entries:
            if total <= limit:
                break
            try:
                is_removed = entry.remove()
            except OSError as error:
                logger.warning(f"Cannot remove the cache entry {entry.path}: {error.strerror}.")
                continue
            if is_removed:
                removed.append(entry)
                total -= entry.num_bytes
    finally:
        lock.release()
    if removed:
        logger.info(
            f"Removed {describe_size(removed)} that were not used for the longest time from the cache {folder}, which "
            f"may take {format_bytes(limit)} ({SIZE_VARIABLE})."
        )
    if total > limit:
        logger.warning(
            f"The cache {folder} takes {format_bytes(total)}, more than the {format_bytes(limit)} of {SIZE_VARIABLE}: "
            "this run or other processes use all of its entries."
        )


def describe_size(entries: list[CacheEntry]) -> str:
    """Describe several entries: "3 entries (1.2 GB)"."""
    size = format_bytes(sum(entry.num_bytes for entry in entries))
    return f"{len(entries)} {'entry' if len(entries) == 1 else 'entries'} ({size})"


def _is_at(path: Path, descriptor: int) -> bool:
    """Return whether a path leads to the open folder of a descriptor."""
    with suppress(OSError):
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    return False


def _size_of(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def _read_about(folder: Path) -> dict[str, Any]:
    """Return what the manifest of an entry says about its content; empty if it cannot be read."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        return dict(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["about"])
    return {}

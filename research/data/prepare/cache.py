"""Cache of prepared data and tokenized rows.

An entry is a directory that is built once and identified by a fingerprint. The manifest of an entry stores
facts about its content, and the sizes of its files. Only complete entries are visible to other processes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from research.data.prepare.cache_entries import MANIFEST, Lease, evict_least_used, lease, size_limit
from research.system.messages import logger

Describe = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Function that returns from an entry's facts what the list of entries shows."""


class Fetched(NamedTuple):
    """An entry of the cache."""

    folder: Path
    """Folder of the entry."""
    facts: dict[str, Any]
    """Facts that are stored with the files."""
    lease: Lease | None
    """Keeps the entry from being removed while the object exists."""


def find_cache_dir(cache_dir: Path | None = None) -> Path:
    """Return the cache directory: `cache_dir` if given, else MIDWAY_CACHE if it is set, else ~/.cache/midway.

    Raises:
        ValueError: if there is neither `cache_dir` nor MIDWAY_CACHE, and the user has no home directory.
    """
    if cache_dir is not None:
        return Path(cache_dir)
    try:
        return Path(os.environ.get("MIDWAY_CACHE") or Path.home() / ".cache" / "midway")
    except RuntimeError as error:
        raise ValueError("There is no home directory for the data cache; set MIDWAY_CACHE to a directory.") from error


def fingerprint(format_version: int, *parts: Any) -> str:
    """Return the fingerprint of a cache entry.

    Args:
        format_version: version of the code that builds the entry; a new version may build different files from the
            same input.
        parts: JSON-serialisable values that determine the input.
    """
    content = json.dumps([format_version, *parts], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def fetch(
    cache_dir: Path,
    kind: str,
    key: str,
    build: Callable[[Path], dict[str, Any]],
    describe: Describe = lambda _: {},
) -> Fetched:
    """Return an entry, and build it first if it does not exist or is damaged.

    Two processes may build the same entry at the same time. Each writes to a temporary directory; the first to finish
    renames its directory to that of the entry, and the other process discards its own. A new entry may make the cache
    larger than MIDWAY_CACHE_SIZE; the entries that were not used for the longest time are then removed.

    Args:
        cache_dir: directory of the cache.
        kind: first part of the entry's name, such as rows or tokens.
        key: fingerprint of the entry.
        build: fills an empty directory and returns JSON-serialisable facts, which are stored with the files.
        describe: returns from the facts what the list of entries shows, see `CacheEntry.about`.
    Raises:
        ValueError: if the cache directory cannot be written to, the entry cannot be read, or MIDWAY_CACHE_SIZE is
            not a size.
    """
    size_limit()  # refuses an invalid size before long work begins
    target = cache_dir / f"{kind}-{key}"
    try:
        target_lease = lease(target)
        facts = None if target_lease is None else _read_facts(target)
    except OSError as error:
        raise ValueError(
            f"Cannot read {error.filename} in the data cache: {error.strerror}. It may belong to another user; set "
            "MIDWAY_CACHE to a different directory."
        ) from error
    if facts is not None:
        return Fetched(target, facts, target_lease)
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{kind}-", dir=cache_dir))
    except OSError as error:
        raise ValueError(_describe_unwritable(cache_dir, error)) from error
    try:
        temporary_lease = lease(temporary)
        contents = temporary / "entry"
        contents.mkdir()
        target_lease = lease(contents)  # remains when the directory is renamed
        facts = build(contents)
        sizes = {path.name: path.stat().st_size for path in contents.iterdir()}
        manifest = {"sizes": sizes, "facts": facts, "about": describe(facts)}
        (contents / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
        if target.exists() and _read_facts(target) is None:
            logger.info(f"The cache entry {target} is damaged; replacing it.")
            target.rename(temporary / "damaged")
        try:
            contents.rename(target)
        except OSError:
            target_lease = lease(target)
            facts = _read_facts(target)
            if facts is None:  # no other process has built the entry, so renaming really failed
                raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ValueError(
                f"The disk of the data cache {cache_dir} is full. Free some space, or set MIDWAY_CACHE to a directory "
                "on another disk."
            ) from error
        # For a file outside the cache directory, the error comes from `build`.
        if cache_dir in Path(os.fsdecode(error.filename or "")).parents:
            raise ValueError(_describe_unwritable(cache_dir, error)) from error
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    del temporary_lease
    evict_least_used(cache_dir)
    return Fetched(target, facts, target_lease)


def _describe_unwritable(cache_dir: Path, error: OSError) -> str:
    return f"Cannot write to the data cache {cache_dir}: {error.strerror}. Set MIDWAY_CACHE to a different directory."


def _read_facts(target: Path) -> dict[str, Any] | None:
    """Return the facts of an entry; None if it does not exist, or its manifest or the size of a file is wrong.

    Raises:
        OSError: if a file of the entry cannot be read.
    """
    try:
        manifest = json.loads((target / MANIFEST).read_text(encoding="utf-8"))
        sizes: dict[str, int] = manifest["sizes"]
        facts: dict[str, Any] = manifest["facts"]
        for name, size in sizes.items():
            with (target / name).open("rb") as file:
                if os.fstat(file.fileno()).st_size != size:
                    return None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, LookupError, TypeError, AttributeError):  # the manifest is damaged
        return None
    return facts

"""Stored hidden states by their key: computed by one process at a time, found by all others."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from research.features.store import DamageError, FeatureStore, RowLayout
from research.system import durable
from research.system.events import report_hidden_states
from research.system.lock import LockFile, UnlockableError
from research.system.messages import logger

Layers = Literal["last", "all"]


def find_features(folder: Path, key: str, layers: Layers, places: RowLayout) -> FeatureStore | None:
    """Return what is there already, if it is whole; the last layer is also taken out of all of them.

    Args:
        folder: the cache.
        key: fingerprint of the hidden states, without that of the layers.
        layers: which are wanted.
        places: where the rows are.
    """
    for entry in _entries(folder, key, layers):
        with suppress(DamageError):
            if entry.exists():
                return FeatureStore(entry, places)
    return None


def find_or_build(
    folder: Path, key: str, layers: Layers, places: RowLayout, build: Callable[[Path], None]
) -> FeatureStore:
    """Return stored hidden states, computed first where they are not there or damaged.

    Args:
        folder: the cache.
        key: fingerprint of the hidden states, without that of the layers.
        layers: which are wanted.
        places: where the rows are.
        build: writes them into an empty directory.
    Raises:
        OSError: if the disk is full, or cannot be written to; nothing half written stays.
        DamageError: if what was just written cannot be read back.
    """
    found = find_features(folder, key, layers, places)
    if found is not None:
        return found
    folder.mkdir(parents=True, exist_ok=True)
    with _only_one(folder, key):
        _remove_damaged(_entries(folder, key, layers), places)
        found = find_features(folder, key, layers, places)  # another process had the right before
        if found is not None:
            return found
        target = _entry(folder, key, layers)
        writing = folder / f".features-{key}.{os.getpid()}.writing"
        with durable.deleting_on_failure(writing):
            writing.mkdir()
            build(writing)
            # Not synced: what a power cut takes from gigabytes that can be computed again, their hashes tell.
            try:
                writing.rename(target)
            except OSError:
                if not target.exists():
                    raise
                durable.remove(writing)  # without locks another process may have been faster
        return FeatureStore(target, places)


def _entry(folder: Path, key: str, layers: Layers) -> Path:
    return folder / f"features-{key}-{layers}"


def _entries(folder: Path, key: str, layers: Layers) -> list[Path]:
    """Return the entries that would do."""
    either: tuple[Layers, ...] = ("last", "all")
    return [_entry(folder, key, each) for each in (either if layers == "last" else ("all",))]


def _remove_damaged(entries: Sequence[Path], places: RowLayout) -> None:
    for entry in entries:
        if not entry.exists():
            continue
        try:
            FeatureStore(entry, places)
        except DamageError as damage:
            report_hidden_states(f"The hidden states in {entry} are damaged ({damage}); computing them again.")
            durable.rename_and_remove(entry)


@contextmanager
def _only_one(folder: Path, key: str) -> Iterator[None]:
    """Wait until no other process computes the same, then be the one; remove what killed ones left behind."""
    lock = LockFile(_lock_path(folder, key))
    try:
        if not lock.acquire():
            logger.info(f"Waiting for another process, which computes the same hidden states into {folder} ...")
            lock.acquire(wait=True)
    except UnlockableError as problem:
        report_hidden_states(
            f"{folder} cannot be locked ({problem}): another process may compute the same hidden states as well."
        )
        yield
        return
    try:
        _remove_leftovers(folder, key)
        yield
    finally:
        lock.release()


def _remove_leftovers(folder: Path, own: str) -> None:
    """Delete what processes left that were killed while they computed; the right to the own key is held."""
    for path in [*folder.glob(".features-*.writing"), *folder.glob(".features-*.removing")]:
        key = path.name.removeprefix(".features-").partition(".")[0].partition("-")[0]
        if key == own:
            durable.remove(path)
            continue
        lock = LockFile(_lock_path(folder, key))
        with suppress(UnlockableError):
            if lock.acquire():  # whoever computed there is gone
                try:
                    durable.remove(path)
                finally:
                    lock.release()


def _lock_path(folder: Path, key: str) -> Path:
    return folder / f".features-{key}.lock"

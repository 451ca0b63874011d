"""The cache of hidden states: one process writes an entry, and all other processes find it by its key."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from research.data.prepare.cache_entries import lease as take_lease
from research.features.store import DamageError, FeatureStore, RowLayout
from research.system import durable
from research.system.events import report_hidden_states
from research.system.lock import LockFile, LocksUnsupportedError
from research.system.messages import logger

Layers = Literal["last", "all"]


def find_features(folder: Path, key: str, layers: Layers, layout: RowLayout) -> FeatureStore | None:
    """Return the stored hidden states of a key, or None if they are missing or damaged.

    An entry with all layers is also found if only the last layer is needed.

    Args:
        folder: the folder of the cache.
        key: fingerprint of the hidden states; it does not depend on `layers`.
        layers: the layers that are needed.
        layout: position of each row in the files.
    """
    for entry in _entries(folder, key, layers):
        lease = take_lease(entry)
        with suppress(DamageError):
            if lease is not None:
                return FeatureStore(entry, layout, lease)
    return None


def find_or_build(
    folder: Path, key: str, layers: Layers, layout: RowLayout, build: Callable[[Path], None]
) -> FeatureStore:
    """Return stored hidden states. If they are missing or damaged, they are computed first.

    Args:
        folder: the folder of the cache.
        key: fingerprint of the hidden states; it does not depend on `layers`.
        layers: the layers that are needed.
        layout: position of each row in the files.
        build: function that computes the hidden states and writes them into an empty folder.
    Raises:
        OSError: if the disk is full or cannot be written to. Partly written files are deleted.
        DamageError: if the written files cannot be read back.
    """
    store = find_features(folder, key, layers, layout)
    if store is not None:
        return store
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder, key):
        _remove_damaged(_entries(folder, key, layers), layout)
        store = find_features(folder, key, layers, layout)  # another process may have computed them in the meantime
        if store is not None:
            return store
        target = _entry(folder, key, layers)
        temporary = folder / f".features-{key}.{os.getpid()}.writing"
        with durable.deleting_on_failure(temporary):
            temporary.mkdir()
            lease = take_lease(temporary)  # remains when the folder is renamed
            build(temporary)
            # The files are not synced, because that would take long for gigabytes. If a power cut damages them, their
            # hashes reveal it, and the hidden states are computed again.
            try:
                temporary.rename(target)
            except OSError:
                if not target.exists():
                    raise
                durable.remove(temporary)  # if the folder cannot be locked, another process may have been faster
                lease = take_lease(target)
        return FeatureStore(target, layout, lease)


def _entry(folder: Path, key: str, layers: Layers) -> Path:
    return folder / f"features-{key}-{layers}"


def _entries(folder: Path, key: str, layers: Layers) -> list[Path]:
    """Return the paths of the entries that would contain the layers."""
    stored_layers: tuple[Layers, ...] = ("last", "all") if layers == "last" else ("all",)
    return [_entry(folder, key, stored) for stored in stored_layers]


def _remove_damaged(entries: Sequence[Path], layout: RowLayout) -> None:
    for entry in entries:
        lease = take_lease(entry)
        if lease is None:
            continue
        try:
            FeatureStore(entry, layout, lease)
        except DamageError as damage:
            report_hidden_states(f"The hidden states in {entry} are damaged ({damage}); computing them again.")
            durable.rename_and_remove(entry)


@contextmanager
def _locked(folder: Path, key: str) -> Iterator[None]:
    """Wait until no other process computes the same hidden states, lock the key, and delete leftovers."""
    lock = LockFile(_lock_path(folder, key))
    try:
        if not lock.acquire():
            logger.info(f"Waiting for another process, which is computing the same hidden states in {folder} ...")
            lock.acquire(wait=True)
    except LocksUnsupportedError as problem:
        report_hidden_states(
            f"{folder} cannot be locked ({problem}): several processes may compute the same hidden states at once."
        )
        yield
        return
    try:
        _remove_leftovers(folder, key)
        yield
    finally:
        lock.release()


def _remove_leftovers(folder: Path, locked_key: str) -> None:
    """Delete the files of processes that were killed while computing. This process must hold `locked_key`'s lock."""
    for path in [*folder.glob(".features-*.writing"), *folder.glob(".features-*.removing")]:
        # The name is .features-KEY.PID.writing, or .features-KEY-LAYERS.removing if a damaged entry was being deleted.
        key = path.name.removeprefix(".features-").partition(".")[0].partition("-")[0]
        if key == locked_key:
            durable.remove(path)
            continue
        lock = LockFile(_lock_path(folder, key))
        with suppress(LocksUnsupportedError):
            if lock.acquire():  # the process that wrote there has ended
                try:
                    durable.remove(path)
                finally:
                    lock.release()


def _lock_path(folder: Path, key: str) -> Path:
    return folder / f".features-{key}.lock"

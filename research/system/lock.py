"""Locks that are released when the process that holds them ends, for whatever reason.

The operating system locks an open descriptor, through the library filelock. The library's class FileLock is not used:
it cannot lock a directory, leaves lock files behind, and may fall back to files that outlive a killed run.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from filelock import lock_descriptor


class DirectoryLock:
    """Exclusive lock for writing to a directory; released when the process ends, for whatever reason."""

    def __init__(self) -> None:
        self._descriptor: int | None = None

    def acquire(self, directory: Path, *, setting: str = "--output_dir") -> str | None:
        """Take the lock; taking it again has no effect.

        Args:
            directory: an existing directory.
            setting: setting that chooses the directory, for the error message.
        Returns:
            A message for the user if the file system does not support locks, otherwise None.
        Raises:
            ValueError: if another process holds the lock.
        """
        if self._descriptor is not None:
            return None
        # Lock the directory itself, so that no lock file remains in it.
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            is_free = lock_descriptor(descriptor, blocking=False)
        except OSError as error:
            os.close(descriptor)
            return f"{directory} cannot be locked ({error.strerror}), so a second run in it would not be detected."
        if not is_free:
            os.close(descriptor)
            raise ValueError(f"Another run uses {directory}; wait until it ends, or choose another {setting}.")
        self._descriptor = descriptor
        return None

    def release(self) -> None:
        """Release the lock."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def is_held(directory: Path) -> bool:
    """Return whether a process holds the lock of a directory."""
    lock = DirectoryLock()
    try:
        lock.acquire(directory)
    except ValueError:
        return True
    finally:
        lock.release()
    return False


class LockFile:
    """A lock file: created when the lock is taken, deleted when it is released.

    Args:
        path: path of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self, *, wait: bool = False) -> bool:
        """Take the lock; return False if another process holds it.

        Args:
            wait: whether to wait until the lock is free.
        Raises:
            LocksUnsupportedError: if the file system does not support locks.
            OSError: if the file cannot be opened.
        """
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                is_locked = lock_descriptor(descriptor, blocking=wait)
                # The previous holder may have deleted the file by now; a lock on a deleted file excludes nobody.
                if is_locked and _is_file_at(self._path, descriptor):
                    self._descriptor, descriptor = descriptor, -1  # -1: `finally` must not close the locked file
                    return True
            except OSError as error:
                raise LocksUnsupportedError(error.strerror) from error
            finally:
                if descriptor != -1:
                    os.close(descriptor)
            if not is_locked:
                return False

    def release(self) -> None:
        """Delete the file and release the lock."""
        if self._descriptor is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None


class LocksUnsupportedError(Exception):
    """The file system does not support locks."""


def _is_file_at(path: Path, descriptor: int) -> bool:
    """Return whether a path still leads to the open file of a descriptor."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    return False

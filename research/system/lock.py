"""Locks that end with the process that holds them, however it ends.

The operating system's own locks, which the library filelock takes on an open descriptor. Its FileLock is not used: it
cannot lock a directory, leaves its files behind, and falls back to files that survive a killed process.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from filelock import lock_descriptor


class DirectoryLock:
    """The right to write into a directory; it ends with the process, however that ends."""

    def __init__(self) -> None:
        self._descriptor: int | None = None

    def hold(self, directory: Path) -> str | None:
        """Take the right if nobody has it; taken twice it stays.

        Args:
            directory: it exists.
        Returns:
            What is to be said where the file system knows no locks.
        Raises:
            ValueError: if another process has it.
        """
        if self._descriptor is not None:
            return None
        # The directory itself is locked: a file in it would have to be left behind.
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            is_free = lock_descriptor(descriptor, blocking=False)
        except OSError as error:
            os.close(descriptor)
            return f"{directory} cannot be locked ({error.strerror}): nothing keeps a second run out of it."
        if not is_free:
            os.close(descriptor)
            raise ValueError(f"Another run works in {directory}; wait for it, or choose another --output_dir.")
        self._descriptor = descriptor
        return None

    def release(self) -> None:
        """Give the right back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def is_held(directory: Path) -> bool:
    """Return whether a process has the right to write into a directory."""
    lock = DirectoryLock()
    try:
        lock.hold(directory)
    except ValueError:
        return True
    finally:
        lock.release()
    return False


class LockFile:
    """A lock that is a file: it appears when it is taken, and whoever releases the lock deletes it.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def take(self, *, wait: bool = False) -> bool:
        """Take the lock; return False if another process has it.

        Args:
            wait: whether to wait until it is free.
        Raises:
            UnlockableError: if the file system knows no locks.
            OSError: if the file cannot be opened.
        """
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                is_taken = lock_descriptor(descriptor, blocking=wait)
                # Whoever had it may have deleted it meanwhile: a lock on a file without a name keeps nobody out.
                if is_taken and _is_at(descriptor, self._path):
                    self._descriptor, descriptor = descriptor, -1
                    return True
            except OSError as error:
                raise UnlockableError(error.strerror) from error
            finally:
                if descriptor != -1:
                    os.close(descriptor)
            if not is_taken:
                return False

    def release(self) -> None:
        """Delete the file and give the lock back."""
        if self._descriptor is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None


class UnlockableError(Exception):
    """A file system without locks."""


def _is_at(descriptor: int, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    return False

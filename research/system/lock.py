"""One run at a time in a run directory."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


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
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise ValueError(
                f"Another run works in {directory}; wait for it, or choose another --output_dir."
            ) from None
        except OSError as error:
            os.close(descriptor)
            return f"{directory} cannot be locked ({error.strerror}): nothing keeps a second run out of it."
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

"""Write files and folders atomically: after a kill, a full disk or a power cut they are either complete or absent."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

TORCH_WRITE_ERRORS = ("PytorchStreamWriter", "inline_container", "iostream error")
"""Substrings that identify the RuntimeError of a failed torch.save, which does not contain the system's message."""


class StorageError(ValueError):
    """A file or folder that cannot be written."""


def write_text(path: Path, text: str) -> None:
    """Write a file atomically: readers see either the old or the new content.

    Raises:
        StorageError: if the file cannot be written; the old content is kept.
    """
    with writing_atomically(path, needed=len(text)) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def writing_atomically(path: Path, *, needed: int) -> Iterator[Path]:
    """Return a context for writing a temporary file, which replaces `path` at the end of the context.

    Args:
        path: the file.
        needed: approximate number of bytes to write, for the message about a full disk.
    Raises:
        StorageError: if the file cannot be written; the old content is kept.
    """
    temporary = path.with_name(f".{path.name}.writing")
    with converting_write_errors(path, needed=needed), deleting_on_failure(temporary):
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)


@contextmanager
def deleting_on_failure(temporary: Path) -> Iterator[None]:
    """Delete a partly written file or folder if writing fails, because it may fill the disk."""
    try:
        yield
    except BaseException:
        with suppress(OSError):  # the write error is the one to report
            remove(temporary)
        raise


def append_text(path: Path, text: str) -> None:
    """Append text to a file. This is not atomic: if it is interrupted, the file may end with a part of the text.

    Raises:
        StorageError: if the file cannot be written.
    """
    with converting_write_errors(path, needed=len(text)), path.open("a", encoding="utf-8") as file:
        file.write(text)


def publish(temporary: Path, target: Path) -> None:
    """Rename a finished folder to its final name, replacing any folder with that name.

    Args:
        temporary: the finished folder, next to the target.
        target: the final path.
    """
    for path in (*temporary.rglob("*"), temporary):
        sync(path)
    replaced = target.with_name(f".{target.name}.replaced")
    if target.exists():  # renaming onto a folder that is not empty fails
        shutil.rmtree(replaced, ignore_errors=True)
        target.rename(replaced)
    temporary.rename(target)
    sync(target.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Delete files and folders that interrupted writes left in a folder."""
    for pattern in (".*.writing", ".*.replaced", ".*.removing"):
        for path in folder.glob(pattern):
            remove(path)


def remove(path: Path) -> None:
    """Delete a file or a folder with its content, if it exists; links are deleted, not followed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
        return
    with suppress(FileNotFoundError, NotADirectoryError):  # a parent may be a file
        path.unlink()


def rename_and_remove(folder: Path) -> None:
    """Rename a folder before deleting it, so that no partly deleted folder keeps the name."""
    renamed = folder.with_name(f".{folder.name}.removing")
    folder.rename(renamed)
    shutil.rmtree(renamed)


def copy(source: Path, target: Path) -> None:
    """Copy a file or folder. The files of a folder are hard-linked if possible, as they are never changed in place."""
    if source.is_dir():
        shutil.copytree(source, target, copy_function=_link_or_copy)
    else:
        shutil.copyfile(source, target)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # some file systems have no hard links
        shutil.copyfile(source, target)


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def converting_write_errors(path: Path, *, needed: int) -> Iterator[None]:
    """Convert a write error to a StorageError with the space needed and the space available.

    Args:
        path: the file or folder to write.
        needed: approximate number of bytes to write, for the message.
    Raises:
        StorageError: if the disk is full or not writable.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise _storage_error(path, needed, getattr(error, "strerror", None) or str(error)) from error
    except RuntimeError as error:
        if not any(marker in str(error) for marker in TORCH_WRITE_ERRORS):
            raise
        raise _storage_error(path, needed, "writing failed") from error


def check_writable(path: Path) -> None:
    """Check that a file or folder can be created in the nearest existing folder, before long work for it begins.

    Raises:
        StorageError: if that is not a folder, or is not writable.
    """
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise StorageError(f"Cannot write {path}: {folder} is not a folder.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StorageError(f"Cannot write {path}: the folder {folder} is not writable.")


def check_space(path: Path, *, needed: int) -> None:
    """Check that there is enough disk space.

    Raises:
        StorageError: if less space is free than needed.
    """
    if _free_bytes(path) < needed:
        raise _storage_error(path, needed, "No space left on device")


def _storage_error(path: Path, needed: int, reason: str) -> StorageError:
    return StorageError(
        f"Cannot write {path}: {reason} ({format_bytes(needed)} needed, {format_bytes(_free_bytes(path))} free)."
    )


def _free_bytes(path: Path) -> int:
    existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    return shutil.disk_usage(existing).free


def format_bytes(num_bytes: int) -> str:
    """Format a number of bytes as kB, MB or GB."""
    if num_bytes >= 1e9:
        return f"{num_bytes / 1e9:,.1f} GB"
    return f"{num_bytes / 1e6:,.1f} MB" if num_bytes >= 100_000 else f"{num_bytes / 1e3:,.1f} kB"

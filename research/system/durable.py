"""Files and folders that are there whole or not at all, whatever cuts the writing: a kill, a full disk, a power cut."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

SIGNS_OF_TORCH = ("PytorchStreamWriter", "inline_container", "iostream error")
"""What is in the RuntimeError of a torch.save that could not write; it does not hand on the system's words."""


class StorageError(ValueError):
    """A file or folder that cannot be written."""


def write_text(path: Path, text: str) -> None:
    """Write a file in one go: readers see the old one or the new one.

    Raises:
        StorageError: if it cannot be written; the old one is still there.
    """
    writing = path.with_name(f".{path.name}.writing")
    with reporting_failure(path, needed=len(text)), clearing_away(writing):
        with writing.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        writing.replace(path)
        sync(path.parent)


@contextmanager
def clearing_away(writing: Path) -> Iterator[None]:
    """Delete what is half written if the writing fails: it may be what fills the disk."""
    try:
        yield
    except BaseException:
        with suppress(OSError):  # the failure itself is what is to be said
            remove(writing)
        raise


def append_text(path: Path, text: str) -> None:
    """Add to a file.

    Raises:
        StorageError: if it cannot be written.
    """
    with reporting_failure(path, needed=len(text)), path.open("a", encoding="utf-8") as file:
        file.write(text)


def publish(writing: Path, target: Path) -> None:
    """Give a finished folder its name; a folder of that name is replaced.

    Args:
        writing: the folder, beside the target.
        target: its name from now on.
    """
    for path in (*writing.rglob("*"), writing):
        sync(path)
    aside = target.with_name(f".{target.name}.replaced")
    if target.exists():  # a rename onto a folder that is not empty fails
        shutil.rmtree(aside, ignore_errors=True)
        target.rename(aside)
    writing.rename(target)
    sync(target.parent)
    shutil.rmtree(aside, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Delete what writings that were cut left in a folder."""
    for pattern in (".*.writing", ".*.replaced", ".*.removing"):
        for path in folder.glob(pattern):
            remove(path)


def remove(path: Path) -> None:
    """Delete a file, or a folder with all that is in it, if it is there; never what a link points to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
        return
    with suppress(FileNotFoundError, NotADirectoryError):  # a file stands where its folder would be
        path.unlink()


def retire(folder: Path) -> None:
    """Delete a folder so that a half deleted one never bears its name."""
    removing = folder.with_name(f".{folder.name}.removing")
    folder.rename(removing)
    shutil.rmtree(removing)


def copy(source: Path, target: Path) -> None:
    """Copy a file; of a folder, whose files are never written to in place, links are enough."""
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
    """Wait until a file, or a folder's list of names, is on the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def reporting_failure(path: Path, *, needed: int) -> Iterator[None]:
    """Turn the system's error of a failed writing into one that says what was needed and what is free.

    Args:
        path: what is written.
        needed: bytes that it takes.
    Raises:
        StorageError: if the disk is full, or cannot be written to.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise _failure(path, needed, getattr(error, "strerror", None) or str(error)) from error
    except RuntimeError as error:
        if not any(sign in str(error) for sign in SIGNS_OF_TORCH):
            raise
        raise _failure(path, needed, "writing failed") from error


def check_space(path: Path, *, needed: int) -> None:
    """Refuse to begin a writing for which there is no room.

    Raises:
        StorageError: if less is free than needed.
    """
    if _free(path) < needed:
        raise _failure(path, needed, "No space left on device")


def _failure(path: Path, needed: int, reason: str) -> StorageError:
    return StorageError(
        f"Cannot write {path}: {reason} ({format_bytes(needed)} needed, {format_bytes(_free(path))} free)."
    )


def _free(path: Path) -> int:
    existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    return shutil.disk_usage(existing).free


def format_bytes(num_bytes: int) -> str:
    """Return a number of bytes in kB, MB or GB."""
    if num_bytes >= 1e9:
        return f"{num_bytes / 1e9:,.1f} GB"
    return f"{num_bytes / 1e6:,.1f} MB" if num_bytes >= 100_000 else f"{num_bytes / 1e3:,.1f} kB"

"""Finished chunks of an output file, kept in a folder beside it until all of them are joined to the file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from research.inference.output_formats import OUTPUT_FORMATS, Columns
from research.system.durable import (
    converting_write_errors,
    deleting_on_failure,
    remove,
    sync,
    write_text,
    writing_atomically,
)
from research.system.lock import DirectoryLock
from research.system.messages import logger

Manifest = dict[str, Any]
"""JSON-serialisable values on which the content of the chunks depends, by name."""
_MANIFEST, _FAILED = "manifest.json", "failed"
_BYTES_PER_ROW = 100
"""Approximate size of a row, for the message about a full disk."""


class Parts:
    """The folder `.OUTPUT.parts` with the finished chunks of an output file.

    The chunks survive a kill. The same command reuses them if they were made from the same data and settings, and with
    the same model. The context of an object ends with the release of its lock.

    Args:
        output: the output file; its extension is that of a format.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.folder = output.with_name(f".{output.name}.parts")
        self._format = OUTPUT_FORMATS[output.suffix]
        self._lock = DirectoryLock()

    def __enter__(self) -> Parts:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lock.release()

    def start(self, manifest: Manifest, *, overwrite: bool) -> bool:
        """Prepare the folder, and return whether an earlier command has already finished the output file.

        Args:
            manifest: what the chunks will depend on.
            overwrite: whether to replace an existing output file, and to discard chunks with a different manifest.
        Raises:
            ValueError: if the output file exists, or there are chunks with a different manifest, and they may not be
                replaced; or if another process writes the same file.
        """
        manifest = json.loads(json.dumps(manifest))
        earlier, published = self._read_manifest()
        if earlier == manifest and published is not None and published == _identify(self.output):
            return True
        check_output_is_new(self.output, overwrite=overwrite)
        with converting_write_errors(self.folder, needed=0):
            self.folder.mkdir(parents=True, exist_ok=True)
        if (message := self._lock.acquire(self.folder, setting="--output")) is not None:
            logger.warning(message)
        if earlier not in (None, manifest):
            self._discard(earlier, manifest, overwrite=overwrite)
        self._write_manifest(manifest, published=None)
        remove(self.folder / _FAILED)
        return False

    def has(self, number: int) -> bool:
        """Return whether a chunk is finished."""
        return self._path(number).exists()

    def write(self, number: int, columns: Columns, num_rows: int) -> None:
        """Write a finished chunk.

        Raises:
            StorageError: if it cannot be written.
        """
        with writing_atomically(self._path(number), needed=_BYTES_PER_ROW * num_rows) as temporary:
            self._format.write_part(columns, temporary)

    def publish(self, num_parts: int, names: Sequence[str]) -> None:
        """Join all chunks to the output file, and remove the folder.

        Args:
            num_parts: number of chunks; all must be finished.
            names: names of the columns.
        Raises:
            StorageError: if the file cannot be written; the chunks are kept.
        """
        paths = [self._path(number) for number in range(num_parts)]
        joined = self.folder / "joined"
        with converting_write_errors(self.output, needed=sum(path.stat().st_size for path in paths)):
            with deleting_on_failure(joined):
                messages = self._format.join(paths, names, joined)
                sync(joined)
            # With this record, a kill between the next two steps leaves no doubt that the output is complete.
            self._write_manifest(self._read_manifest()[0], published=_identify(joined))
            joined.replace(self.output)
            sync(self.output.parent)
        for message in messages:
            logger.info(message)
        self.remove()

    def remove(self) -> None:
        """Delete the folder, the manifest last."""
        self._remove_all_but_manifest()
        remove(self.folder)

    def claim_failure(self) -> bool:
        """Record that this process has failed, and return False if another process has failed before."""
        try:
            (self.folder / _FAILED).touch(exist_ok=False)
        except FileExistsError:
            return False
        except OSError:  # for example on a full disk; then several processes may report it
            pass
        return True

    def has_failure(self) -> bool:
        """Return whether a process has failed."""
        return (self.folder / _FAILED).exists()

    def _read_manifest(self) -> tuple[Manifest | None, list[int] | None]:
        """Return the manifest of the chunks, and the identity of the output file if they have been joined."""
        path = self.folder / _MANIFEST
        if not path.exists():
            return None, None
        content = json.loads(path.read_text(encoding="utf-8"))
        return content["made_with"], content["published"]

    def _write_manifest(self, manifest: Manifest | None, *, published: list[int] | None) -> None:
        write_text(self.folder / _MANIFEST, json.dumps({"made_with": manifest, "published": published}))

    def _path(self, number: int) -> Path:
        return self.folder / f"part-{number:06d}{self.output.suffix}"

    def _discard(self, earlier: Manifest, manifest: Manifest, *, overwrite: bool) -> None:
        """Delete chunks with a different manifest, but not that manifest: after a kill, it still belongs to the rest.

        Raises:
            ValueError: if `overwrite` is false; says what has changed.
        """
        changed = ", ".join(name for name in manifest if earlier.get(name) != manifest[name])
        if not overwrite:
            raise ValueError(
                f"{self.folder} contains finished chunks of an earlier command, which differs in: {changed}. Repeat "
                "that command to continue it, or set --overwrite to start again."
            )
        logger.info(f"Discarding the finished chunks of an earlier command, which differs in: {changed}.")
        self._remove_all_but_manifest()

    def _remove_all_but_manifest(self) -> None:
        for path in self.folder.iterdir():
            if path.name != _MANIFEST:
                remove(path)


def check_output_is_new(output: Path, *, overwrite: bool) -> None:
    """Check that an output file does not exist, unless it may be replaced.

    Raises:
        ValueError: if it exists.
    """
    if output.exists() and not overwrite:
        raise ValueError(f"{output} exists already. Choose another --output, or replace it with --overwrite.")


def _identify(path: Path) -> list[int] | None:
    """Return values that stay the same when a file is renamed, and change when it is written; None without a file."""
    if not path.exists():
        return None
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ino]

"""The folder that an export writes: complete, or absent."""

from __future__ import annotations

import importlib.metadata
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from research.model.saved_models import EXPORT_RECORD
from research.system import durable


def check_output(target: Path, *, overwrite: bool) -> None:
    """Check that an export may write a folder.

    Args:
        target: the folder.
        overwrite: whether to replace the folder of an earlier export.
    Raises:
        ValueError: if it is a file, contains anything other than an earlier export that may be replaced, or cannot be
            written.
    """
    if target.exists() and not target.is_dir():
        raise ValueError(f"Expected a folder for --output, but {target} is a file. Choose another --output.")
    if target.name in ("", ".."):  # this process would replace the folder that the user's shell is in
        raise ValueError(f"Expected the name of a new folder for --output, got '{target}'. Choose another --output.")
    durable.check_writable(target)
    if not target.exists() or not os.listdir(target):
        return
    if not overwrite:
        raise ValueError(f"The folder {target} exists. Choose another --output, or replace it with --overwrite.")
    if not (target / EXPORT_RECORD).is_file():
        raise ValueError(
            f"{target} is not empty and was not written by export.py, so --overwrite does not delete it. Choose "
            "another --output."
        )


@contextmanager
def writing_folder(target: Path, record: Mapping[str, Any], *, needed: int) -> Iterator[Path]:
    """Return a context with an empty folder, which gets its final name at the end of the context.

    If there is an error, the folder is deleted, and an existing folder with the final name is kept.

    Args:
        target: the final folder.
        record: content of export.json, to which the version of Midway is added; see `ExportFormat.record`.
        needed: approximate number of bytes to write, for the message about a full disk.
    Raises:
        StorageError: if the folder cannot be written.
    """
    temporary = target.with_name(f".{target.name}.writing")
    missing_parents = [parent for parent in target.absolute().parents if not parent.exists()]
    topmost_created = missing_parents[-1] if missing_parents else temporary
    with durable.converting_write_errors(target, needed=needed), durable.deleting_on_failure(topmost_created):
        durable.remove(temporary)
        temporary.mkdir(parents=True)
        yield temporary
        path = temporary / EXPORT_RECORD
        facts = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}  # written by the format
        content = {**record, "midway": importlib.metadata.version("midway"), **facts}
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        durable.publish(temporary, target)

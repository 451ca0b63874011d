"""The folder of an exported model: the model's file, the tokenizer, config.json, README.md and export.json."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from research.inference.saved_model import SavedModel
from research.system import durable

EXPORT = "export.json"
"""File with the facts about an export: libraries, sizes that were checked, largest difference, metrics."""


def check_new_folder(folder: Path) -> None:
    """Check that an export may be written into a folder, so that no file is overwritten.

    Raises:
        ValueError: if the folder contains files, or is a file.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ValueError(f"{folder} exists already. Choose a new folder, or delete it first.")


@contextmanager
def new_folder(saved: SavedModel, folder: Path, readme: str) -> Iterator[Path]:
    """Yield a temporary folder with all files that do not depend on the format, and publish it at the end.

    Args:
        saved: the model.
        folder: the final folder.
        readme: content of README.md.
    Raises:
        StorageError: if the disk is full or cannot be written to.
    """
    temporary = folder.with_name(f".{folder.name}.writing")
    durable.remove(temporary)
    needed = sum(value.nbytes for value in saved.model.state_dict().values())
    with durable.converting_write_errors(folder, needed=needed), durable.deleting_on_failure(temporary):
        temporary.mkdir(parents=True)
        saved.model.config.save_pretrained(temporary)
        saved.tokenizer.model_max_length = saved.model.config.max_input_length
        saved.tokenizer.save_pretrained(temporary)
        (temporary / "README.md").write_text(readme, encoding="utf-8")
        yield temporary
        durable.publish(temporary, folder)


def write_facts(folder: Path, libraries: tuple[str, ...], facts: dict[str, Any]) -> None:
    """Write export.json.

    Args:
        folder: the folder of the export.
        libraries: libraries whose versions are recorded.
        facts: everything else.
    """
    versions = {library: version(library) for library in libraries}
    (folder / EXPORT).write_text(json.dumps({**facts, "versions": versions}, indent=2) + "\n", encoding="utf-8")

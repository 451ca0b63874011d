"""Folders that the `datasets` library wrote with save_to_disk."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
from datasets import Dataset, load_from_disk

from research.data.sources.reading import describe
from research.data.sources.tables import check_file
from research.system.errors import one_line

_SPLITS_FILE = "dataset_dict.json"


def is_saved_dataset(folder: Path) -> bool:
    """Return whether a folder holds one saved data set."""
    has_facts = all(os.path.isfile(folder / name) for name in ("state.json", "dataset_info.json"))
    return has_facts or any(folder.glob("data-*-of-*.arrow"))


def is_saved_dict(folder: Path) -> bool:
    """Return whether a folder holds a saved data set for each split."""
    return os.path.isfile(folder / _SPLITS_FILE)  # Path.is_file raises where a folder may not be entered


def read_split_names(folder: Path) -> list[str]:
    """Return the names of the splits of a saved DatasetDict, which are its folders' too.

    Raises:
        ValueError: if the file that has them cannot be read, or a folder is missing.
    """
    path = folder / _SPLITS_FILE
    check_file(path, str(path))
    try:
        names = [str(name) for name in json.loads(path.read_bytes())["splits"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"'{path}' does not name the splits as save_to_disk does: {one_line(error)}") from error
    missing = [name for name in names if not is_saved_dataset(folder / name)]
    if missing:
        raise ValueError(
            f"'{path}' names splits that are not saved beside it: {', '.join(missing)}. Copy them, or save again."
        )
    return names


def list_saved_files(folder: Path) -> list[Path]:
    """Return everything in the folder of a saved data set, subfolders excepted."""
    return sorted(path for path in folder.iterdir() if not path.is_dir())


def load_saved(folder: Path) -> Dataset:
    """Memory-map one saved data set.

    Raises:
        ValueError: if it is damaged or incomplete.
    """
    files = list_saved_files(folder)
    for path in files:
        check_file(path, str(path))
    try:
        for path in files:
            if path.suffix == ".arrow":
                _validate(path)
        loaded = load_from_disk(str(folder))
    except Exception as error:  # of this library and of pyarrow, a dozen kinds; each becomes one line
        raise ValueError(
            f"Cannot read the data set that was saved in '{folder}': {describe(error)}. Save it again."
        ) from error
    assert isinstance(loaded, Dataset)
    return loaded


def _validate(path: Path) -> None:
    """Read a file once, since Arrow takes offsets in it on trust: damaged ones would end the process without a message.

    Raises:
        ArrowInvalid: if it is damaged.
    """
    with pa.OSFile(str(path)) as file:
        for batch in pa.ipc.open_stream(file):
            batch.validate(full=True)

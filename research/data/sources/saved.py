"""Read folders written by `save_to_disk` of the `datasets` library."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
from datasets import Dataset, load_from_disk

from research.data.sources.reading import describe_briefly
from research.data.sources.tables import check_file
from research.system.errors import one_line

_SPLITS_FILE = "dataset_dict.json"


def is_saved_dataset(folder: Path) -> bool:
    """Return whether a folder is a saved Dataset."""
    has_metadata = all(os.path.isfile(folder / name) for name in ("state.json", "dataset_info.json"))
    return has_metadata or any(folder.glob("data-*-of-*.arrow"))


def is_saved_dict(folder: Path) -> bool:
    """Return whether a folder is a saved DatasetDict, which has one Dataset per split."""
    return os.path.isfile(folder / _SPLITS_FILE)  # Path.is_file raises an error if permission is missing


def read_split_names(folder: Path) -> list[str]:
    """Return the names of the splits of a saved DatasetDict. Each split is in a subfolder with its name.

    Raises:
        ValueError: if the file that lists the splits cannot be read, or the folder of a split is missing.
    """
    path = folder / _SPLITS_FILE
    check_file(path, str(path))
    try:
        names = [str(name) for name in json.loads(path.read_bytes())["splits"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"'{path}' does not list the splits as save_to_disk does: {one_line(error)}") from error
    missing = [name for name in names if not is_saved_dataset(folder / name)]
    if missing:
        raise ValueError(
            f"'{path}' lists splits that are missing from its folder: {', '.join(missing)}. Copy them, or save the "
            "data set again."
        )
    return names


def list_saved_files(folder: Path) -> list[Path]:
    """Return all files in the folder of a saved data set."""
    return sorted(path for path in folder.iterdir() if not path.is_dir())


def load_saved(folder: Path) -> Dataset:
    """Memory-map a saved Dataset.

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
    except Exception as error:  # datasets and pyarrow raise a dozen kinds of errors; each becomes one line
        raise ValueError(
            f"Cannot read the data set saved in '{folder}': {describe_briefly(error)}. Save it again."
        ) from error
    assert isinstance(loaded, Dataset)
    return loaded


def _validate(path: Path) -> None:
    """Read and validate a file. Arrow does not check offsets by itself, and invalid offsets would crash the process.

    Raises:
        ArrowInvalid: if the file is damaged.
    """
    with pa.OSFile(str(path)) as file:
        for batch in pa.ipc.open_stream(file):
            batch.validate(full=True)

"""Folders that the `datasets` library wrote with save_to_disk."""

from __future__ import annotations

import json
from pathlib import Path

from datasets import Dataset, load_from_disk

from research.data.tables import check_file
from research.user_errors import one_line

_SPLITS_FILE = "dataset_dict.json"


def is_saved_dataset(folder: Path) -> bool:
    """Return whether a folder holds one saved data set."""
    has_facts = all((folder / name).is_file() for name in ("state.json", "dataset_info.json"))
    return has_facts or any(folder.glob("data-*-of-*.arrow"))


def is_saved_dict(folder: Path) -> bool:
    """Return whether a folder holds a saved data set for each split."""
    return (folder / _SPLITS_FILE).is_file()


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
    """Return the files of one saved data set."""
    return sorted(path for path in folder.iterdir() if path.is_file())


def load_saved(folder: Path) -> Dataset:
    """Memory-map one saved data set.

    Raises:
        ValueError: if it is damaged or incomplete.
    """
    for path in list_saved_files(folder):
        check_file(path, str(path))
    try:
        loaded = load_from_disk(str(folder))
    except Exception as error:  # of this library and of pyarrow, a dozen kinds; each becomes one line
        raise ValueError(
            f"Cannot read the data set that was saved in '{folder}': {one_line(error).rstrip('.')}. Save it again."
        ) from error
    assert isinstance(loaded, Dataset)
    return loaded

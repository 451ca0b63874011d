"""Which files of a folder are which split."""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from pathlib import Path

from research.data.splits import SPLIT_NAMES

SPLIT_OF_STEM = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}
# Older repositories of the Hub add a hash to the name of a shard.
_SHARD = re.compile(r"(?P<stem>.*)-(?P<number>\d+)-of-(?P<total>\d+)(-[0-9a-f]{16})?")
_NOT_DATA = (".py", ".sh", ".md", ".log", ".ipynb", ".yaml", ".yml")


def find_split_files(folder: Path, suffixes: AbstractSet[str]) -> tuple[dict[str, list[Path]], list[str]]:
    """Return the files of each split of a folder, shards in the order of their numbers, and what to report.

    Args:
        folder: the folder.
        suffixes: endings of the files that can be read, in lower case.
    Raises:
        ValueError: if it is not clear which file is which split, a file that is named like a split cannot be read, or
            a shard is missing.
    """
    paths = _list_folder(folder)
    files: dict[str, list[Path]] = {split: [] for split in SPLIT_NAMES}
    ignored = []
    for path in paths:
        # The first part of the name, so that test.csv.gz is named like a split too.
        split = SPLIT_OF_STEM.get(_shard_stem(path.name.split(".", maxsplit=1)[0]))
        is_readable = path.suffix.lower() in suffixes and path.is_file()
        if split is not None and path.suffix.lower() in _NOT_DATA and path.is_file():
            ignored.append(path.name)
        elif split is not None and is_readable and _split_of(path) == split:
            files[split].append(path)
        elif split is not None and not _is_empty_folder(path):
            raise ValueError(f"'{path}' is named like the {split} split, but {_explain_unreadable(path, suffixes)}")
        elif is_readable or (split is None and not path.is_dir() and not suffixes.isdisjoint(_lower_suffixes(path))):
            raise ValueError(
                f"It is not clear which split '{path}' is: in a folder, files are named train, validation (or valid, "
                "val, dev) and test. Rename it, move it away, or give the file itself as --data."
            )
    for split, found in files.items():
        files[split] = _order(folder, split, found)
    notes = [f"Files of {folder} that are named like splits but are not data: {', '.join(ignored)}."] if ignored else []
    return files, notes


def _list_folder(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise ValueError(f"Cannot list the folder '{folder}': {error.strerror}. Check its permissions.") from error


def _lower_suffixes(path: Path) -> list[str]:
    return [suffix.lower() for suffix in path.suffixes]


def _split_of(path: Path) -> str | None:
    return SPLIT_OF_STEM.get(_shard_stem(path.stem))


def _shard_stem(stem: str) -> str:
    shard = _SHARD.fullmatch(stem)
    return (shard["stem"] if shard else stem).lower()


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not _list_folder(path)


def _explain_unreadable(path: Path, suffixes: AbstractSet[str]) -> str:
    expected = f"Expected one of {', '.join(sorted(suffixes))}."
    if path.is_dir():
        return "it is a folder. Put its rows into one file, or into numbered shards such as train-00000-of-00002.csv."
    if path.is_symlink() and not path.exists():
        return f"it is a link to '{path.readlink()}', which does not exist. Mend the link or remove it."
    if not path.is_file():
        return f"it is not a regular file. {expected}"
    ending = "".join(path.suffixes)
    return f"files that end in '{ending}' cannot be read. {expected} Convert it, or move it away."


def _order(folder: Path, split: str, found: list[Path]) -> list[Path]:
    """Return the shards of a split by number; several files are one split only if they are all of its shards."""
    shards = [_SHARD.fullmatch(path.stem) for path in found]
    numbered = [(int(shard["number"]), path) for shard, path in zip(shards, found, strict=True) if shard]
    series = {
        (shard["stem"], int(shard["total"]), path.suffix) if shard else (path.stem, None, path.suffix)
        for shard, path in zip(shards, found, strict=True)
    }
    names = ", ".join(path.name for path in found)
    if len(series) > 1:
        raise ValueError(f"The folder '{folder}' has more than one {split} file: {names}. Keep one.")
    if not numbered:
        return found
    _, total, _ = series.pop()
    assert total is not None
    numbers = sorted(number for number, _ in numbered)
    first = 1 if numbers[-1] == total else 0
    if numbers != list(range(first, first + total)):
        missing = [number for number in range(first, first + total) if number not in numbers]
        what = f"lack number {', '.join(map(str, missing[:5]))}" if missing else "have a number twice"
        raise ValueError(
            f"The {split} shards of '{folder}' {what}: expected {total} of them, numbered from {first}; found {names}. "
            "Add what is missing, or rename the files if they are complete."
        )
    return [path for _, path in sorted(numbered)]

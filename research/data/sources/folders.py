"""Which files of a folder are which split."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from research.data.sources.compression import NOT_DATA, find_type, is_compressed, strip_compression
from research.data.sources.saved import is_saved_dataset
from research.data.sources.split_names import SPLIT_NAMES, SPLIT_OF_STEM

# Older repositories of the Hub add a hash to the name of a shard.
_SHARD = re.compile(r"(?P<stem>.*)-(?P<number>\d+)-of-(?P<total>\d+)(-[0-9a-f]{16})?")
# A part of a data set; Spark adds the job to the name.
_PART = re.compile(r"(?P<stem>.*?)(?P<number>\d+)(?P<job>-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-c\d+)?")
_SPLIT_WORD = re.compile(f"({'|'.join(SPLIT_OF_STEM)})", re.IGNORECASE)
_DEPTH = 2
"""Of folders that are searched for splits, as in data/<configuration>/train.parquet."""


def find_split_files(
    folder: Path, suffixes: AbstractSet[str], beside: AbstractSet[str]
) -> tuple[dict[str, list[Path]], list[str]]:
    """Return the files of each split of a folder, shards in the order of their numbers, and what to report.

    If the folder itself has none, they are those of the one folder in it that has some, as in repositories of the Hub.
    A path among them may be a folder that save_to_disk wrote.

    Args:
        folder: the folder.
        suffixes: endings of the files that can be read, in lower case.
        beside: those of them that files have too which are not data but about it.
    Raises:
        ValueError: if it is not clear which file is which split, a file that is named like a split cannot be read, or
            a shard is missing.
    """
    files, notes = _find_here(folder, suffixes, beside)
    if any(files.values()):
        return files, notes + _report_splits_inside(folder, [split for split, found in files.items() if not found])
    nested = list(_find_nested(folder, _DEPTH))
    if len(nested) > 1:
        names = ", ".join(str(path.relative_to(folder)) for path in nested)
        raise ValueError(f"'{folder}' holds more than one data set: {names}. Choose one, such as --data '{nested[0]}'.")
    for path in nested:
        files, notes = _find_here(path, suffixes, beside)
        notes = [f"The data of {folder} are those in {path.relative_to(folder)}/.", *notes]
    return files, notes


def describe_other_shards(path: Path) -> list[str]:
    """Return a warning if a file is one of several of which only this one is read."""
    shard = _SHARD.fullmatch(_stem(path))
    if shard is None or int(shard["total"]) == 1:
        return []
    return [
        f"Warning: {path.name} is one of {int(shard['total']):,} files; only this one is read. To read all of "
        f"them, use --data {path.parent}."
    ]


def is_named_like_split(path: Path) -> bool:
    """Return whether a file or folder has the name of a split and could be its data."""
    is_data = bool(_list_visible(path)) if path.is_dir() else path.suffix.lower() not in NOT_DATA
    return is_data and find_named_split(path) is not None


def find_named_split(path: Path) -> str | None:
    """Return the split that a file or folder is named like: by the first part of its name, as in test.csv.gz."""
    return SPLIT_OF_STEM.get(_shard_stem(path.name.split(".", maxsplit=1)[0]))


def _find_here(
    folder: Path, suffixes: AbstractSet[str], beside: AbstractSet[str]
) -> tuple[dict[str, list[Path]], list[str]]:
    """Return the files of each split that the folder itself has, and what to report."""
    files: dict[str, list[Path]] = {split: [] for split in SPLIT_NAMES}
    not_data = []
    unread = []
    unclear = []
    for path in _list_visible(folder):
        split = find_named_split(path)
        if split is None:
            if _is_unclear(path, suffixes - beside):
                unclear.append(path)
            elif _may_be_data(path, suffixes, beside):
                unread.append(f"{path.name}/" if path.is_dir() else path.name)
        elif path.is_file() and path.suffix.lower() in NOT_DATA:
            not_data.append(path.name)
        elif path.is_dir() or (_is_readable(path, suffixes) and SPLIT_OF_STEM.get(_shard_stem(_stem(path))) == split):
            files[split].append(path)
        else:
            raise ValueError(f"'{path}' is named like the {split} split, but {_explain_unreadable(path, suffixes)}")
    for split, found in files.items():
        if len(found) > 1 and any(path.is_dir() for path in found):
            raise ValueError(_describe_several(folder, split, found))
        if found and found[0].is_dir():
            files[split] = _find_in_split_folder(found[0], split, suffixes)
        elif found:
            files[split] = _order_shards(folder, split, found)
    # A shard's name says which split it is of; other files could be of any.
    others = [path for path in unclear if any(files.values()) and _SHARD.fullmatch(_stem(path))]
    for path in unclear:
        if path not in others:
            raise ValueError(
                f"It is not clear which split '{path}' is: in a folder, files are named train, validation (or valid, "
                "val, dev) and test. Rename it, move it away, or give the file itself as --data."
            )
    notes = []
    if others:
        names = dict.fromkeys(_shard_stem(_stem(path)) for path in others)
        notes.append(f"Splits of {folder} that are not used: {', '.join(names)}.")
    if not_data:
        notes.append(f"Files of {folder} that are named like splits but are not data: {', '.join(not_data)}.")
    if unread and any(files.values()):
        mark = "Warning: " if any(map(_SPLIT_WORD.match, unread)) else ""
        notes.append(f"{mark}Not read, since not named like splits: {', '.join(unread)} (in {folder}).")
    return files, notes


def _find_nested(folder: Path, depth: int) -> Iterator[Path]:
    """Yield the folders inside that have splits: data/, or one per configuration."""
    for path in _list_visible(folder):
        if not path.is_dir():
            continue
        if any(is_named_like_split(entry) for entry in _list_visible(path)):
            yield path
        elif depth > 1:
            yield from _find_nested(path, depth - 1)


def _report_splits_inside(folder: Path, missing: Sequence[str]) -> list[str]:
    """Report files of splits that the folder itself lacks, and that lie in a folder inside where they are not read."""
    unread = [
        path.relative_to(folder).as_posix()
        for inside in _find_nested(folder, 1)
        if not is_named_like_split(inside)
        for path in _list_visible(inside)
        if is_named_like_split(path) and find_named_split(path) in missing
    ]
    return [f"Warning: Not read, since other splits are in {folder} itself: {', '.join(unread)}."] if unread else []


def _find_in_split_folder(folder: Path, split: str, suffixes: AbstractSet[str]) -> list[Path]:
    """Return the files of a folder that is named like a split: a saved data set, one file, or numbered ones."""
    if is_saved_dataset(folder):
        return [folder]
    # Spark and similar tools mark files that are not data with an underscore.
    found = [
        path
        for path in _list_visible(folder)
        if not path.name.startswith("_") and (path.is_dir() or path.suffix.lower() not in NOT_DATA)
    ]
    for path in found:
        if not _is_readable(path, suffixes):
            raise ValueError(
                f"The folder '{folder}' is named like the {split} split, but of what it holds, "
                f"'{path.name}' cannot be used: {_explain_unreadable(path, suffixes)}"
            )
    if not found:
        raise ValueError(
            f"The folder '{folder}' is named like the {split} split, but has no data. Expected a file that ends in one "
            f"of {', '.join(sorted(suffixes))}."
        )
    if any(_SHARD.fullmatch(_stem(path)) for path in found):
        return _order_shards(folder, split, found)
    return found if len(found) == 1 else _order_parts(folder, split, found)


def _list_visible(folder: Path) -> list[Path]:
    """Return what is in a folder, except for hidden files and those that macOS adds."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith((".", "__MACOSX")))
    except OSError as error:
        raise ValueError(f"Cannot list the folder '{folder}': {error.strerror}. Check its permissions.") from error


def _is_readable(path: Path, suffixes: AbstractSet[str]) -> bool:
    return path.is_file() and find_type(path) in suffixes


def _is_unclear(path: Path, suffixes: AbstractSet[str]) -> bool:
    """Return whether a file that is not named like a split must be data all the same."""
    endings = [suffix.lower() for suffix in path.suffixes]
    return not path.is_dir() and any(ending in suffixes for ending in endings)


def _may_be_data(path: Path, suffixes: AbstractSet[str], beside: AbstractSet[str]) -> bool:
    """Return whether a file or folder that is not named like a split could be part of one all the same."""
    if path.is_dir():
        return any(_is_readable(inside, suffixes) for inside in _list_visible(path))
    begins_like_split = _SPLIT_WORD.match(path.name) is not None and path.suffix.lower() not in NOT_DATA
    return path.is_file() and (is_compressed(path) or path.suffix.lower() in beside or begins_like_split)


def _stem(path: Path) -> str:
    return strip_compression(path).stem


def _ending(path: Path) -> str:
    return path.name.removeprefix(_stem(path))


def _shard_stem(stem: str) -> str:
    shard = _SHARD.fullmatch(stem)
    return (shard["stem"] if shard else stem).lower()


def _explain_unreadable(path: Path, suffixes: AbstractSet[str]) -> str:
    expected = f"Expected one of {', '.join(sorted(suffixes))}."
    if path.is_dir():
        return "it is a folder. Put its rows into one file, or into numbered shards such as train-00000-of-00002.csv."
    if path.is_symlink() and not path.exists():
        return f"it is a link to '{path.readlink()}', which does not exist. Mend the link or remove it."
    if not path.is_file():
        return f"it is not a regular file. {expected}"
    ending = "".join(path.suffixes)
    if path.suffix.lower() == ".zip":
        ending = find_type(path) + ending  # of the file in it
    return f"files that end in '{ending}' cannot be read. {expected} Convert it, or move it away."


def _describe_several(folder: Path, split: str, found: Sequence[Path]) -> str:
    names = ", ".join(path.name for path in found)
    return f"The folder '{folder}' has more than one {split} file: {names}. Keep one."


def _order_shards(folder: Path, split: str, found: list[Path]) -> list[Path]:
    """Return the shards of a split by number; several files are one split only if they are all of its shards."""
    shards = [_SHARD.fullmatch(_stem(path)) for path in found]
    numbered = [(int(shard["number"]), path) for shard, path in zip(shards, found, strict=True) if shard]
    series = {
        (shard["stem"], int(shard["total"]), _ending(path)) if shard else (_stem(path), None, _ending(path))
        for shard, path in zip(shards, found, strict=True)
    }
    if len(series) > 1:
        raise ValueError(_describe_several(folder, split, found))
    if not numbered:
        return found
    _, total, _ = series.pop()
    assert total is not None
    numbers = sorted(number for number, _ in numbered)
    first = 1 if numbers[-1] == total else 0
    if numbers != list(range(first, first + total)):
        missing = [number for number in range(first, first + total) if number not in numbers]
        what = f"lack number {', '.join(map(str, missing[:5]))}" if missing else "have a number twice"
        names = ", ".join(path.name for path in found)
        raise ValueError(
            f"The {split} shards of '{folder}' {what}: expected {total} of them, numbered from {first}; found {names}. "
            "Add what is missing, or rename the files if they are complete."
        )
    return [path for _, path in sorted(numbered)]


def _order_parts(folder: Path, split: str, found: list[Path]) -> list[Path]:
    """Return the files of a split's folder by their numbers, which say nothing of how many there are."""
    parts = [(_PART.fullmatch(_stem(path)), path) for path in found]
    series = {(part["stem"], part["job"], _ending(path)) if part else None for part, path in parts}
    numbered = sorted((int(part["number"]), path) for part, path in parts if part)
    numbers = [number for number, _ in numbered]
    if len(series) > 1 or numbers not in (list(range(len(found))), list(range(1, len(found) + 1))):
        names = ", ".join(path.name for path in found)
        raise ValueError(
            f"The folder '{folder}' of the {split} split has several files that are not one series: {names}. Expected "
            "one file, or files that differ in a number only and count from 0 or 1 without gaps."
        )
    return [path for _, path in numbered]

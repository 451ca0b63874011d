"""Find the files of each split in a folder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from research.data.sources.compression import NOT_DATA, find_content_suffix, is_compressed, strip_compression
from research.data.sources.saved import is_saved_dataset
from research.data.sources.split_names import SPLIT_NAMES, SPLIT_OF_NAME

# Older repositories of the Hub append a hash to the name of a shard.
_SHARD = re.compile(r"(?P<stem>.*)-(?P<number>\d+)-of-(?P<total>\d+)(-[0-9a-f]{16})?")
# A numbered part of a data set, such as part-00001; Spark appends the id of the job to the name.
_PART = re.compile(r"(?P<stem>.*?)(?P<number>\d+)(?P<job>-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-c\d+)?")
_SPLIT_PREFIX = re.compile(f"({'|'.join(SPLIT_OF_NAME)})", re.IGNORECASE)
_MAX_DEPTH = 2
"""Levels of subfolders that are searched for splits, as in data/<configuration>/train.parquet."""


def find_split_files(
    folder: Path, suffixes: AbstractSet[str], metadata_suffixes: AbstractSet[str]
) -> tuple[dict[str, list[Path]], list[str]]:
    """Return the files of each split of a folder, with shards in numerical order, and messages to log.

    If the folder itself has no splits and exactly one of its subfolders does, the files of that subfolder are returned,
    as in repositories of the Hub. A returned path may also be a folder written by save_to_disk.

    Args:
        folder: the folder.
        suffixes: extensions of the files that can be read, in lower case.
        metadata_suffixes: subset of `suffixes` that metadata files may have too.
    Raises:
        ValueError: if it is unclear which split a file belongs to, if a file that is named after a split cannot be
            read, if a shard is missing, or if several subfolders have splits.
    """
    files, notes = _find_in_folder(folder, suffixes, metadata_suffixes)
    if any(files.values()):
        return files, notes + _warn_of_unread_splits(folder, [split for split, paths in files.items() if not paths])
    nested = list(_find_folders_with_splits(folder, _MAX_DEPTH))
    if len(nested) > 1:
        names = ", ".join(str(path.relative_to(folder)) for path in nested)
        raise ValueError(
            f"'{folder}' holds more than one data set: {names}. Choose one, for example: --data '{nested[0]}'."
        )
    for path in nested:
        files, notes = _find_in_folder(path, suffixes, metadata_suffixes)
        notes = [f"The data of {folder} are read from its subfolder {path.relative_to(folder)}/.", *notes]
    return files, notes


def warn_of_unread_shards(path: Path) -> list[str]:
    """Return a warning if a file is one of several shards, because only this shard is read."""
    shard = _SHARD.fullmatch(_stem(path))
    if shard is None or int(shard["total"]) == 1:
        return []
    return [
        f"Warning: {path.name} is one of {int(shard['total']):,} shards, and only this one is read. To read all of "
        f"them, use --data {path.parent}."
    ]


def may_hold_split(path: Path) -> bool:
    """Return whether a file or folder is named after a split and may hold data."""
    is_data = bool(_list_visible(path)) if path.is_dir() else path.suffix.lower() not in NOT_DATA
    return is_data and find_named_split(path) is not None


def find_named_split(path: Path) -> str | None:
    """Return the split that a file or folder is named after, or None.

    Only the part of the name before the first dot counts: `test.csv.gz` is named after the test split.
    """
    return SPLIT_OF_NAME.get(_shard_stem(path.name.split(".", maxsplit=1)[0]))


def _find_in_folder(
    folder: Path, suffixes: AbstractSet[str], metadata_suffixes: AbstractSet[str]
) -> tuple[dict[str, list[Path]], list[str]]:
    """Return the files of each split in a folder, and messages to log.

    The files are in the folder itself, or in a subfolder named after their split.
    """
    files: dict[str, list[Path]] = {split: [] for split in SPLIT_NAMES}
    not_data = []
    unread = []
    unclear = []
    for path in _list_visible(folder):
        split = find_named_split(path)
        if split is None:
            if _is_data(path, suffixes - metadata_suffixes):
                unclear.append(path)
            elif _may_be_data(path, suffixes, metadata_suffixes):
                unread.append(f"{path.name}/" if path.is_dir() else path.name)
        elif path.is_file() and path.suffix.lower() in NOT_DATA:
            not_data.append(path.name)
        # Names such as train.v2.csv are refused: `find_named_split` only sees the part before the first dot.
        elif path.is_dir() or (_is_readable(path, suffixes) and SPLIT_OF_NAME.get(_shard_stem(_stem(path))) == split):
            files[split].append(path)
        else:
            raise ValueError(f"'{path}' is named after the {split} split, but {_explain_unreadable(path, suffixes)}")
    for split, paths in files.items():
        if len(paths) > 1 and any(path.is_dir() for path in paths):
            raise ValueError(_describe_several(folder, split, paths))
        if paths and paths[0].is_dir():
            files[split] = _find_in_split_folder(paths[0], split, suffixes)
        elif paths:
            files[split] = _order_shards(folder, split, paths)
    # Shards are named after their split, so a shard with a different name belongs to a split that is not used. Any
    # other file could belong to any split.
    unused_shards = [path for path in unclear if any(files.values()) and _SHARD.fullmatch(_stem(path))]
    for path in unclear:
        if path not in unused_shards:
            raise ValueError(
                f"It is unclear which split '{path}' belongs to. Files in a folder must be named train, validation "
                "(or valid, val, dev) or test. Rename it, move it away, or pass the file itself as --data."
            )
    notes = []
    if unused_shards:
        names = dict.fromkeys(_shard_stem(_stem(path)) for path in unused_shards)
        notes.append(f"Unused splits of {folder}: {', '.join(names)}.")
    if not_data:
        notes.append(f"Files of {folder} that are named after splits but are not data: {', '.join(not_data)}.")
    if unread and any(files.values()):
        # A name such as train2.csv suggests that the file should belong to a split.
        prefix = "Warning: " if any(map(_SPLIT_PREFIX.match, unread)) else ""
        notes.append(f"{prefix}Not read, because they are not named after a split: {', '.join(unread)} (in {folder}).")
    return files, notes


def _find_folders_with_splits(folder: Path, depth: int) -> Iterator[Path]:
    """Yield folders with splits, up to `depth` levels below a folder: data/, for example, or one per configuration."""
    for path in _list_visible(folder):
        if not path.is_dir():
            continue
        if any(may_hold_split(entry) for entry in _list_visible(path)):
            yield path
        elif depth > 1:
            yield from _find_folders_with_splits(path, depth - 1)


def _warn_of_unread_splits(folder: Path, missing: Sequence[str]) -> list[str]:
    """Return a warning if a subfolder has a split that the folder itself lacks.

    Subfolders are not read because the folder itself has other splits.

    Args:
        folder: the folder.
        missing: splits that the folder itself lacks.
    """
    unread = [
        path.relative_to(folder).as_posix()
        for subfolder in _find_folders_with_splits(folder, 1)
        if not may_hold_split(subfolder)
        for path in _list_visible(subfolder)
        if may_hold_split(path) and find_named_split(path) in missing
    ]
    return [f"Warning: Not read, because {folder} itself has other splits: {', '.join(unread)}."] if unread else []


def _find_in_split_folder(folder: Path, split: str, suffixes: AbstractSet[str]) -> list[Path]:
    """Return the files of a folder that is named after a split: a saved data set, one file, or numbered files."""
    if is_saved_dataset(folder):
        return [folder]
    # Spark and similar tools also write files that are not data, such as _SUCCESS.
    paths = [
        path
        for path in _list_visible(folder)
        if not path.name.startswith("_") and (path.is_dir() or path.suffix.lower() not in NOT_DATA)
    ]
    for path in paths:
        if not _is_readable(path, suffixes):
            raise ValueError(
                f"The folder '{folder}' is named after the {split} split, but '{path.name}' in it cannot be used: "
                f"{_explain_unreadable(path, suffixes)}"
            )
    if not paths:
        raise ValueError(
            f"The folder '{folder}' is named after the {split} split, but has no data. Expected a file with one of the "
            f"extensions {', '.join(sorted(suffixes))}."
        )
    if any(_SHARD.fullmatch(_stem(path)) for path in paths):
        return _order_shards(folder, split, paths)
    return paths if len(paths) == 1 else _order_parts(folder, split, paths)


def _list_visible(folder: Path) -> list[Path]:
    """Return the files and folders in a folder, except hidden ones and those that macOS adds."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith((".", "__MACOSX")))
    except OSError as error:
        raise ValueError(f"Cannot list the folder '{folder}': {error.strerror}. Check its permissions.") from error


def _is_readable(path: Path, suffixes: AbstractSet[str]) -> bool:
    return path.is_file() and find_content_suffix(path) in suffixes


def _is_data(path: Path, suffixes: AbstractSet[str]) -> bool:
    """Return whether the extension of a file that is not named after a split implies that it is data."""
    return not path.is_dir() and any(suffix.lower() in suffixes for suffix in path.suffixes)


def _may_be_data(path: Path, suffixes: AbstractSet[str], metadata_suffixes: AbstractSet[str]) -> bool:
    """Return whether a file or folder that is not named after a split may still hold data."""
    if path.is_dir():
        return any(_is_readable(entry, suffixes) for entry in _list_visible(path))
    suffix = path.suffix.lower()
    begins_with_split_name = _SPLIT_PREFIX.match(path.name) is not None and suffix not in NOT_DATA
    return path.is_file() and (is_compressed(path) or suffix in metadata_suffixes or begins_with_split_name)


def _stem(path: Path) -> str:
    """Return the name of a file without its extension and, if it is compressed, without its compression extension."""
    return strip_compression(path).stem


def _ending(path: Path) -> str:
    """Return the part of a file's name that `_stem` removes."""
    return path.name.removeprefix(_stem(path))


def _shard_stem(stem: str) -> str:
    """Return a stem in lower case; for a shard, without its number and the total: `train` for Train-00000-of-00002."""
    shard = _SHARD.fullmatch(stem)
    return (shard["stem"] if shard else stem).lower()


def _explain_unreadable(path: Path, suffixes: AbstractSet[str]) -> str:
    """Return why a file or folder cannot be read as data, and what to do, as the end of an error message."""
    expected = f"Expected one of {', '.join(sorted(suffixes))}."
    if path.is_dir():
        return "it is a folder. Put its rows into one file, or into numbered shards such as train-00000-of-00002.csv."
    if path.is_symlink() and not path.exists():
        return f"it is a link to '{path.readlink()}', which does not exist. Correct or remove the link."
    if not path.is_file():
        return f"it is not a regular file. {expected}"
    ending = "".join(path.suffixes)
    if path.suffix.lower() == ".zip":
        ending = find_content_suffix(path) + ending  # show the type of the file in the archive too
    return f"files with the extension '{ending}' cannot be read. {expected} Convert it, or move it away."


def _describe_several(folder: Path, split: str, paths: Sequence[Path]) -> str:
    names = ", ".join(path.name for path in paths)
    return f"The folder '{folder}' has more than one {split} file: {names}. Keep one."


def _order_shards(folder: Path, split: str, paths: list[Path]) -> list[Path]:
    """Return the files of a split, with shards in numerical order.

    Raises:
        ValueError: if the files are neither one unnumbered file nor a complete series of shards.
    """
    shards = [_SHARD.fullmatch(_stem(path)) for path in paths]
    numbered = [(int(shard["number"]), path) for shard, path in zip(shards, paths, strict=True) if shard]
    series = {
        (shard["stem"], int(shard["total"]), _ending(path)) if shard else (_stem(path), None, _ending(path))
        for shard, path in zip(shards, paths, strict=True)
    }
    if len(series) > 1:
        raise ValueError(_describe_several(folder, split, paths))
    if not numbered:
        return paths
    _, total, _ = series.pop()
    assert total is not None
    numbers = sorted(number for number, _ in numbered)
    first = 1 if numbers[-1] == total else 0  # shards are numbered from 0 or from 1
    if numbers != list(range(first, first + total)):
        missing = [number for number in range(first, first + total) if number not in numbers]
        problem = f"lack number {', '.join(map(str, missing[:5]))}" if missing else "have duplicate numbers"
        names = ", ".join(path.name for path in paths)
        raise ValueError(
            f"The {split} shards of '{folder}' {problem}: expected {total} shards, numbered from {first}; found "
            f"{names}. Add the missing shards, or rename the files if they are complete."
        )
    return [path for _, path in sorted(numbered)]


def _order_parts(folder: Path, split: str, paths: list[Path]) -> list[Path]:
    """Return the numbered files of a split's folder in numerical order.

    Unlike the names of shards, the names of these files do not contain the total number of files.

    Raises:
        ValueError: if the files do not form one series that counts from 0 or 1 without gaps.
    """
    parts = [(_PART.fullmatch(_stem(path)), path) for path in paths]
    series = {(part["stem"], part["job"], _ending(path)) if part else None for part, path in parts}
    numbered = sorted((int(part["number"]), path) for part, path in parts if part)
    numbers = [number for number, _ in numbered]
    if len(series) > 1 or numbers not in (list(range(len(paths))), list(range(1, len(paths) + 1))):
        names = ", ".join(path.name for path in paths)
        raise ValueError(
            f"The folder '{folder}' of the {split} split has several files that do not form one series: {names}. "
            "Expected one file, or files that differ only in a number and count from 0 or 1 without gaps."
        )
    return [path for _, path in numbered]

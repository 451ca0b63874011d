"""What a data spec stands for: which files, and how they are read."""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import Any

from heads.registry import Registry
from research.data.sources.archives import ARCHIVE_SUFFIXES, open_archive
from research.data.sources.arrow_tables import LoadedTable, ParquetTable
from research.data.sources.compression import check_text, find_type, is_compressed
from research.data.sources.folders import SPLIT_OF_STEM, describe_other_shards, find_split_files, is_named_like_split
from research.data.sources.hub import load_from_hub
from research.data.sources.imdb import (
    RAW_SPLITS,
    PackagedReviews,
    ReviewFiles,
    find_packaged_reviews,
    find_raw_release,
    list_reviews,
)
from research.data.sources.json_tables import JsonLinesTable, JsonListTable, JsonTable
from research.data.sources.saved import is_saved_dataset, is_saved_dict, list_saved_files, load_saved, read_split_names
from research.data.sources.tables import Table, check_file
from research.data.sources.text_tables import CsvTable, DelimitedTable, TextFormat, TsvTable
from research.system.paths import look_up

_PARQUET = ".parquet"
_READERS: dict[str, Callable[[Path, str, TextFormat], Table]] = {
    ".csv": CsvTable,
    ".tsv": TsvTable,
    ".jsonl": JsonLinesTable,
    ".ndjson": JsonLinesTable,
    ".json": JsonListTable,
    _PARQUET: lambda path, name, _: ParquetTable(path, name),
}
_READ_BY: dict[str, tuple[tuple[type[Table], ...], str]] = {
    "columns": ((DelimitedTable,), "csv and tsv files"),
    "quoting": ((DelimitedTable,), "csv and tsv files"),
    "encoding": ((DelimitedTable, JsonTable), "csv, tsv, jsonl and json files"),
}
"""Which tables each setting of a text format is for, and what messages call their files."""
_EXPECTED = (
    f"Expected imdb or rotten_tomatoes, an aclImdb folder or {ARCHIVE_SUFFIXES[0]}, a {', '.join(_READERS)} file "
    "(text files also compressed: reviews.csv.gz), a folder with train/validation/test files or one that save_to_disk "
    "wrote, or hub:<dataset>[:config]."
)

Tables = Mapping[str, Sequence[Table]]


@dataclass(frozen=True)
class Source:
    """Files that were found, and not read yet."""

    name: str
    """What messages call it."""
    identity: list[Any]
    """JSON-able; changes when a file does."""
    open: Callable[[Path], Tables]
    """Returns the tables of each split; may put files into the directory that it gets."""
    notes: tuple[str, ...] = ()
    """What there is to say about the choice."""


PACKAGED: Registry[Callable[[], Source]] = Registry("packaged data set")


@PACKAGED.register("imdb")
def find_imdb() -> Source:
    """25,000 movie reviews, half of them negative: the labelled training split of the IMDB release."""
    return _find_packaged("imdb")


@PACKAGED.register("rotten_tomatoes")
def find_rotten_tomatoes() -> Source:
    """8,530 sentences from movie reviews, half of them negative."""
    return _find_packaged("rotten_tomatoes")


def find_source(spec: str, text_format: TextFormat | None = None) -> Source:
    """Find what `spec` stands for.

    Args:
        spec: the setting --data.
        text_format: how text files are read.
    Raises:
        ValueError: if there is no such thing, or it is not clear which files are which split.
    """
    text_format = text_format or TextFormat()
    if not spec.strip():
        raise ValueError(f"--data is empty. {_EXPECTED}")
    if spec in PACKAGED:
        return _report_shadowed(PACKAGED[spec](), spec)
    if spec.startswith("hub:"):
        return _find_on_hub(spec)
    path = look_up(spec)
    if path.is_dir():
        return _find_in_folder(path, text_format)
    if not path.exists():
        nearest = difflib.get_close_matches(spec, PACKAGED, n=1)
        hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
        raise ValueError(f"There is no file or folder '{spec}'.{hint} {_EXPECTED}")
    if path.name.lower().endswith(ARCHIVE_SUFFIXES):
        check_file(path, path.name)
        return Source(path.name, _identify([path]), lambda scratch: _as_tables(open_archive(path, scratch)))
    if find_type(path) not in _READERS:
        raise ValueError(f"Cannot read '{spec}': {_describe_unsupported(path)}. {_EXPECTED}")
    _check_readable(path)
    return Source(
        path.name,
        _identify([path]),
        lambda _: {"train": [_open_table(path, path.name, text_format)]},
        tuple(describe_other_shards(path)),
    )


def describe_unused_format(tables: Tables, text_format: TextFormat) -> list[str]:
    """Return a warning for each setting of the text format that none of the tables is read with."""
    opened = [table for found in tables.values() for table in found]
    return [
        f"Warning: {name} has no effect: it is for {files}, and the data has none."
        for name, (types, files) in _READ_BY.items()
        if getattr(text_format, name) != getattr(TextFormat(), name)
        and not any(isinstance(table, types) for table in opened)
    ]


def _describe_unsupported(path: Path) -> str:
    if not is_compressed(path):
        return f"unsupported extension '{path.suffix}'"
    inside = find_type(path)
    return f"unsupported extension '{inside}' inside it" if inside else "its name does not say what is in it"


def _check_readable(path: Path) -> None:
    """Refuse a file of a known type that cannot be read: empty, not fetched yet, not compressed as its name says."""
    if find_type(path) != _PARQUET:
        check_text(path, path.name)
    elif is_compressed(path):
        raise ValueError(f"'{path}' is compressed, which parquet files are in themselves. Decompress it.")
    else:
        check_file(path, path.name)


def _open_table(path: Path, name: str, text_format: TextFormat) -> Table:
    """Return the table of a file, or of a folder that save_to_disk wrote."""
    if path.is_dir():
        return LoadedTable(load_saved(path), name)
    return _READERS[find_type(path)](path, name, text_format)


def _report_shadowed(source: Source, spec: str) -> Source:
    """Report that a packaged data set is used although there is a file or folder of its name."""
    if not os.path.lexists(spec):
        return source
    kind = "folder" if Path(spec).is_dir() else "file"
    note = f"Warning: --data {spec} is the packaged data set, not the {kind} ./{spec}; for that use --data ./{spec}."
    return dataclasses.replace(source, notes=(*source.notes, note))


def _find_packaged(name: str) -> Source:
    path = find_packaged_reviews()
    return Source(name, [name, *_identify([path])], lambda _: {"train": [PackagedReviews(path, name)]})


def _find_in_folder(folder: Path, text_format: TextFormat) -> Source:
    if is_saved_dict(folder):
        return _find_saved_dict(folder)
    if is_saved_dataset(folder):
        return Source(
            folder.resolve().name,
            _identify(_list_files([folder])),
            lambda _: {"train": [LoadedTable(load_saved(folder), "train")]},
        )
    release = find_raw_release(folder)
    if release is not None:
        return _find_raw_release(release)
    files, notes = find_split_files(folder, _READERS.keys())
    names = {path: path.relative_to(folder).as_posix() for found in files.values() for path in found}
    if not names:
        raise ValueError(f"The folder '{folder}' has no data files with the names of splits. {_EXPECTED}")
    if not files["train"]:
        raise ValueError(f"The folder '{folder}' has no train file; it has {', '.join(names.values())}.")
    for path in names:
        if path.is_file():
            _check_readable(path)
    return Source(
        folder.resolve().name,
        [[split, _identify(_list_files(found))] for split, found in files.items()],
        lambda _: {
            split: [_open_table(path, names[path], text_format) for path in found]
            for split, found in files.items()
            if found
        },
        tuple(notes),
    )


def _find_saved_dict(folder: Path) -> Source:
    splits, notes = _choose_splits(str(folder), read_split_names(folder))
    return Source(
        folder.resolve().name,
        [[split, _identify(_list_files([folder / name]))] for name, split in splits.items()],
        lambda _: {split: [LoadedTable(load_saved(folder / name), name)] for name, split in splits.items()},
        notes,
    )


def _find_raw_release(root: Path) -> Source:
    others = [path.name for path in sorted(root.iterdir()) if path.name not in RAW_SPLITS and is_named_like_split(path)]
    if others:
        raise ValueError(
            f"'{root}' has the reviews of {' and '.join(RAW_SPLITS)} in folders pos/ and neg/, beside which "
            f"{', '.join(others)} would not be read. Move it away."
        )
    reviews = list_reviews(root)
    return Source(
        root.resolve().name,
        _identify(path for split in reviews.values() for _, path in sorted(split)),
        lambda _: {
            split: [ReviewFiles(split, list(found), Path.read_bytes)] for split, found in reviews.items() if found
        },
    )


def _find_on_hub(spec: str) -> Source:
    loaded = load_from_hub(spec.removeprefix("hub:"))
    splits, notes = _choose_splits(spec, [str(name) for name in loaded])
    return Source(
        spec,
        [[split, loaded[name]._fingerprint] for name, split in splits.items()],
        lambda _: {split: [LoadedTable(loaded[name], name)] for name, split in splits.items()},
        notes,
    )


def _choose_splits(spec: str, names: Sequence[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return which split each named part of a data set is, and what to report."""
    splits: dict[str, str] = {}
    for name in names:
        split = SPLIT_OF_STEM.get(name)
        if split is not None and split in splits.values():
            raise ValueError(f"'{spec}' has more than one {split} split: {', '.join(names)}.")
        if split is not None:
            splits[name] = split
    if "train" not in splits.values():
        raise ValueError(f"'{spec}' has no train split; it has {', '.join(names)}.")
    unused = [name for name in names if name not in splits]
    return splits, (f"Splits of {spec} that are not used: {', '.join(unused)}.",) if unused else ()


def _as_tables(splits: Mapping[str, Table]) -> Tables:
    return {split: [table] for split, table in splits.items()}


def _list_files(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield files as they are, and the files of folders that save_to_disk wrote."""
    for path in paths:
        yield from list_saved_files(path) if path.is_dir() else [path]


def _identify(paths: Iterable[Path]) -> list[Any]:
    """Return what changes when a file is written: it takes no reading, and a copied-back older file is noticed too."""
    stats = [(os.path.abspath(path), path.stat()) for path in paths]
    for path, stat in stats:
        if not S_ISREG(stat.st_mode):  # a pipe could be waited for without end
            raise ValueError(f"{path} is not a file.")
    return [[path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino] for path, stat in stats]

"""Data source for a folder that has a file or a subfolder for each split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from research.data.sources.arrow_tables import LoadedTable
from research.data.sources.base import FileSource, PathSource, Source, identify_files, list_file_sources, register_data
from research.data.sources.compression import find_content_suffix
from research.data.sources.folders import find_split_files
from research.data.sources.saved import list_saved_files, load_saved
from research.data.sources.tables import Table
from research.data.sources.text_format import TextFormat
from research.system.user_code import hash_user_code


@register_data("folder")
class SplitFolder(PathSource):
    """A folder with train/validation/test files or folders, such as a cloned data repository."""

    precedence = 90
    expected = "a folder with train/validation/test files"

    def find_at(self, path: Path, text_format: TextFormat) -> Source | None:
        if not path.is_dir():
            return None
        types = list_file_sources()
        metadata_suffixes = {suffix for suffix, source in types.items() if source.may_be_metadata}
        files, notes = find_split_files(path, types.keys(), metadata_suffixes)
        names = {file: file.relative_to(path).as_posix() for split_files in files.values() for file in split_files}
        if not names:
            return None
        if not files["train"]:
            raise ValueError(
                f"The folder '{path}' has no train file; found {', '.join(names.values())}. Rename the file "
                "that holds the training rows, for example to train.csv."
            )
        sources = {file: types[find_content_suffix(file)] for file in names if file.is_file()}
        for file, source in sources.items():
            source.check(file)
        identity: list[Any] = [
            [split, identify_files(_list_files(split_files))] for split, split_files in files.items()
        ]
        return Source(
            path.resolve().name,
            identity + _hash_user_defined(sources.values()),
            lambda _: {
                split: [_open(file, names[file], sources.get(file), text_format) for file in split_files]
                for split, split_files in files.items()
                if split_files
            },
            tuple(notes),
            frozenset().union(*(source.format_settings for source in sources.values())),
        )


def _open(path: Path, name: str, source: FileSource | None, text_format: TextFormat) -> Table:
    """Return the table of a file or, if `source` is None, of a folder written by save_to_disk."""
    return LoadedTable(load_saved(path), name) if source is None else source.open_table(path, name, text_format)


def _list_files(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the paths of files, and replace each folder written by save_to_disk with the files in it."""
    for path in paths:
        yield from list_saved_files(path) if path.is_dir() else [path]


def _hash_user_defined(sources: Iterable[FileSource]) -> list[str]:
    """Return a hash of the code of each file type that the user defined."""
    hashes = {hash_user_code(type(source)) for source in sources}
    return sorted(code_hash for code_hash in hashes if code_hash is not None)

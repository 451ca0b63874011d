"""Base classes of data sources. A data source recognises values of `--data`, and opens the data as tables."""

from __future__ import annotations

import dataclasses
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import Any, ClassVar

from heads.registry import Registry
from research.data.sources.compression import check_text, find_content_suffix, is_compressed
from research.data.sources.folders import warn_of_unread_shards
from research.data.sources.tables import Table, check_file
from research.data.sources.text_format import TextFormat
from research.system.paths import expand_path

Tables = Mapping[str, Sequence[Table]]
"""Tables of each split, by the name of the split."""


@dataclass(frozen=True)
class Source:
    """A data set that a data source has found but not read yet."""

    name: str
    """Name of the data set in messages."""
    identity: list[Any]
    """JSON-serialisable values that change whenever a file changes."""
    open: Callable[[Path], Tables]
    """Function that returns the tables of each split. It may write files into the directory that is passed to it."""
    notes: tuple[str, ...] = ()
    """Messages about how the data set was found, to be logged."""
    format_settings: frozenset[str] = frozenset()
    """Names of the TextFormat fields that affect how the files of the data set are read."""


class DataSource(ABC):
    """A format or place that data can be read from. Define each in its own file, decorated with `@register_data`."""

    precedence: ClassVar[int] = 50
    """Data sources with a lower value are tried first."""
    expected: ClassVar[str] = ""
    """Description of the values of --data that this data source reads, for error messages. If it is empty, error
    messages do not mention the data source."""

    @abstractmethod
    def find(self, spec: str, text_format: TextFormat) -> Source | None:
        """Return the data set that --data names, or None if this data source does not read it.

        Args:
            spec: value of --data.
            text_format: settings for reading text files.
        Raises:
            ValueError: if this data source recognises the data but cannot read it.
        """

    def find_streamed(self, spec: str, text_format: TextFormat) -> Source | None:
        """Return the data set like `find`, for reading its training rows during training (--streaming).

        A data source whose `find` reads or downloads rows overrides this method.
        """
        return self.find(spec, text_format)


SOURCES: Registry[type[DataSource]] = Registry("data", DataSource, built_in="research.data.sources.registered")
register_data = SOURCES.register


class NamedSource(DataSource):
    """A data set that is selected by its registered name, as in `--data imdb`."""

    precedence = 10

    @abstractmethod
    def find_named(self) -> Source:
        """Return the data set.

        Raises:
            ValueError: if the data set is not installed.
        """

    def find(self, spec: str, text_format: TextFormat) -> Source | None:
        if spec not in SOURCES or SOURCES[spec] is not type(self):
            return None
        source = self.find_named()
        if not os.path.lexists(spec):
            return source
        kind = "folder" if Path(spec).is_dir() else "file"
        note = (
            f"Warning: --data {spec} selects the packaged data set, not the {kind} ./{spec}. To read the {kind}, use "
            f"--data ./{spec}."
        )
        return dataclasses.replace(source, notes=(*source.notes, note))


class PathSource(DataSource):
    """A data source that recognises a file or folder by its name or contents."""

    @abstractmethod
    def find_at(self, path: Path, text_format: TextFormat) -> Source | None:
        """Return the data set at an existing path, or None if this data source does not read it.

        Raises:
            ValueError: if this data source recognises the data but cannot read it.
        """

    def find(self, spec: str, text_format: TextFormat) -> Source | None:
        path = expand_path(spec)
        return self.find_at(path, text_format) if path.exists() else None


class FileSource(PathSource):
    """A file type, recognised by its extension.

    A file can be a whole data set or, inside a folder, all or part of one split.
    """

    precedence = 80
    suffixes: ClassVar[tuple[str, ...]]
    """File extensions in lower case. For text files, a compression extension such as .gz may follow."""
    is_text: ClassVar[bool] = True
    """Whether files of this type are text files. Text files may be compressed."""
    may_be_metadata: ClassVar[bool] = False
    """Whether files with these extensions may also hold metadata. If so, files in a folder are read only if they
    are named after splits."""
    format_settings: ClassVar[tuple[str, ...]] = ()
    """Names of the TextFormat fields that affect how these files are read."""

    @abstractmethod
    def open_table(self, path: Path, name: str, text_format: TextFormat) -> Table:
        """Return a table that reads the rows of a file.

        Args:
            path: the file.
            name: its name in messages.
            text_format: settings for reading text files.
        """

    def check(self, path: Path) -> None:
        """Check that a file is not empty, is not a Git LFS pointer, and has the compression that its extension implies.

        Raises:
            ValueError: if one of these checks fails.
        """
        if self.is_text:
            check_text(path, path.name)
        elif is_compressed(path):
            kind = find_content_suffix(path).removeprefix(".")
            raise ValueError(
                f"'{path}' is compressed, which is not supported for {kind} files: they are already compressed "
                "internally. Decompress it."
            )
        else:
            check_file(path, path.name)

    def find_at(self, path: Path, text_format: TextFormat) -> Source | None:
        if path.is_dir() or find_content_suffix(path) not in self.suffixes:
            return None
        self.check(path)
        return Source(
            path.name,
            identify_files([path]),
            lambda _: {"train": [self.open_table(path, path.name, text_format)]},
            tuple(warn_of_unread_shards(path)),
            frozenset(self.format_settings),
        )


def list_sources() -> list[DataSource]:
    """Return an instance of each registered data source, in the order in which they are tried."""
    return sorted((SOURCES[name]() for name in SOURCES), key=lambda source: source.precedence)


def list_file_sources() -> dict[str, FileSource]:
    """Return the data sources that read files, by the extension of the files.

    Raises:
        ValueError: if two data sources read the same extension.
    """
    by_suffix: dict[str, FileSource] = {}
    for source in list_sources():
        for suffix in source.suffixes if isinstance(source, FileSource) else ():
            if suffix in by_suffix:
                names = " and ".join(str(SOURCES.name_of(type(reader))) for reader in (by_suffix[suffix], source))
                raise ValueError(f"Files that end in {suffix} are read by two data sources: {names}. Remove one.")
            assert isinstance(source, FileSource)
            by_suffix[suffix] = source
    return by_suffix


def identify_files(paths: Iterable[Path]) -> list[Any]:
    """Return values that change whenever a file is written or replaced, even by an older copy. No file is read.

    Raises:
        ValueError: if a path is not a regular file.
    """
    stats = [(os.path.abspath(path), path.stat()) for path in paths]
    for path, stat in stats:
        if not S_ISREG(stat.st_mode):  # reading a pipe could block forever
            raise ValueError(f"{path} is not a regular file.")
    return [[path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino] for path, stat in stats]

"""What a kind of data has to say about itself: which --data it recognises, and how its files become tables."""

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
from research.data.sources.compression import check_text, find_type, is_compressed
from research.data.sources.folders import describe_other_shards
from research.data.sources.tables import Table, check_file
from research.data.sources.text_format import TextFormat
from research.system.paths import expand_path

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
    format_settings: frozenset[str] = frozenset()
    """Fields of TextFormat that its files are read with."""


class DataSource(ABC):
    """One kind of data, in a file of its own under `@register_data`."""

    precedence: ClassVar[int] = 50
    """Kinds with a lower number are asked first."""
    expected: ClassVar[str] = ""
    """What --data can be because of this kind, for messages; by default it is not mentioned."""

    @abstractmethod
    def find(self, spec: str, text_format: TextFormat) -> Source | None:
        """Return what --data stands for, or None if it is not of this kind.

        Args:
            spec: the setting --data.
            text_format: how text files are read.
        Raises:
            ValueError: if it is of this kind and cannot be used.
        """


SOURCES: Registry[type[DataSource]] = Registry("data", DataSource, built_in="research.data.sources.registered")
register_data = SOURCES.register


class NamedSource(DataSource):
    """A data set that --data stands for by its registered name."""

    precedence = 10

    @abstractmethod
    def find_named(self) -> Source:
        """Return the data set.

        Raises:
            ValueError: if it is not installed.
        """

    def find(self, spec: str, text_format: TextFormat) -> Source | None:
        if spec not in SOURCES or SOURCES[spec] is not type(self):
            return None
        source = self.find_named()
        if not os.path.lexists(spec):
            return source
        kind = "folder" if Path(spec).is_dir() else "file"
        note = (
            f"Warning: --data {spec} is the packaged data set, not the {kind} ./{spec}; for that use --data ./{spec}."
        )
        return dataclasses.replace(source, notes=(*source.notes, note))


class PathSource(DataSource):
    """Data in a file or folder, known by how that looks."""

    @abstractmethod
    def find_at(self, path: Path, text_format: TextFormat) -> Source | None:
        """Return the data at an existing path, or None if it is not of this kind.

        Raises:
            ValueError: if it is of this kind and cannot be used.
        """

    def find(self, spec: str, text_format: TextFormat) -> Source | None:
        path = expand_path(spec)
        return self.find_at(path, text_format) if path.exists() else None


class FileSource(PathSource):
    """A type of file, known by its ending: a data set of its own, or a split of a folder."""

    precedence = 80
    suffixes: ClassVar[tuple[str, ...]]
    """Endings, in lower case; those of compression may follow."""
    is_text: ClassVar[bool] = True
    """Whether it is a text file, which may be compressed."""
    lies_beside_data: ClassVar[bool] = False
    """Whether a file with such an ending may also be about the data: in a folder only the names of splits count."""
    format_settings: ClassVar[tuple[str, ...]] = ()
    """Fields of TextFormat that it is read with."""

    @abstractmethod
    def open_table(self, path: Path, name: str, text_format: TextFormat) -> Table:
        """Return the rows of a file.

        Args:
            path: the file.
            name: what messages call it.
            text_format: how text files are read.
        """

    def check(self, path: Path) -> None:
        """Refuse a file that cannot be read: empty, not fetched yet, not compressed as its name says.

        Raises:
            ValueError: naming it.
        """
        if self.is_text:
            check_text(path, path.name)
        elif is_compressed(path):
            kind = find_type(path).removeprefix(".")
            raise ValueError(f"'{path}' is compressed, which {kind} files are in themselves. Decompress it.")
        else:
            check_file(path, path.name)

    def find_at(self, path: Path, text_format: TextFormat) -> Source | None:
        if path.is_dir() or find_type(path) not in self.suffixes:
            return None
        self.check(path)
        return Source(
            path.name,
            identify([path]),
            lambda _: {"train": [self.open_table(path, path.name, text_format)]},
            tuple(describe_other_shards(path)),
            frozenset(self.format_settings),
        )


def list_sources() -> list[DataSource]:
    """Return one of each registered kind, in the order in which they are asked."""
    return sorted((SOURCES[name]() for name in SOURCES), key=lambda source: source.precedence)


def list_file_sources() -> dict[str, FileSource]:
    """Return the types of files that can be read, by their endings.

    Raises:
        ValueError: if two of them have the same.
    """
    found: dict[str, FileSource] = {}
    for source in list_sources():
        for suffix in source.suffixes if isinstance(source, FileSource) else ():
            if suffix in found:
                names = " and ".join(str(SOURCES.name_of(type(each))) for each in (found[suffix], source))
                raise ValueError(f"Files that end in {suffix} are read by two data sources: {names}. Remove one.")
            assert isinstance(source, FileSource)
            found[suffix] = source
    return found


def identify(paths: Iterable[Path]) -> list[Any]:
    """Return what changes when a file is written: it takes no reading, and a copied-back older file is noticed too."""
    stats = [(os.path.abspath(path), path.stat()) for path in paths]
    for path, stat in stats:
        if not S_ISREG(stat.st_mode):  # a pipe could be waited for without end
            raise ValueError(f"{path} is not a file.")
    return [[path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino] for path, stat in stats]

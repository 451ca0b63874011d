"""What every reader gives: the columns and, row by row, the values of one file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from research.system.plain_text import for_message

Report = Callable[[int, int, str], None]
"""Takes the row, the line and the reason of a bad row."""
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


class Table(ABC):
    """The rows of one file.

    Args:
        name: what messages call it.
    """

    fixed_columns = False
    """Whether the columns are this project's own, so that there is nothing to guess."""
    typed = True
    """Whether numbers come as numbers; in csv and tsv everything is a string."""
    sampled_columns = False
    """Whether `columns` are those of the first rows only; a value that a row does not have is None."""

    def __init__(self, name: str) -> None:
        self.name = for_message(name)  # it goes into files too, and systems allow names that are no Unicode

    @abstractmethod
    def columns(self) -> list[str]:
        """Return the names of the columns.

        Raises:
            ValueError: if the file is empty or cannot be read.
        """

    def string_columns(self) -> list[str]:
        """Return the columns that may hold texts."""
        return self.columns()

    def label_names(self, column: str) -> tuple[str, ...] | None:
        """Return the label names that the file itself declares for a column, in their order."""
        del column
        return None

    def notes(self) -> list[str]:
        """Return what must be reported of how the file is read."""
        return []

    @abstractmethod
    def rows(self, columns: Sequence[str], report: Report) -> Iterator[tuple[int, int, Sequence[Any]]]:
        """Yield row number (1-based), line number (0: none) and the columns' values; bad rows go to `report`."""

    def place(self, row: int, line: int) -> str:
        """Say where a row is."""
        return f"{self.name}, row {row}" + (f" (line {line})" if line not in (0, row) else "")


def check_file(path: Path, name: str) -> None:
    """Raise ValueError unless `path` is a readable file with something in it."""
    if not path.is_file():
        raise ValueError(f"{name} is not a file.")
    try:
        with path.open("rb") as file:
            start = file.read(len(_LFS_POINTER))
    except OSError as error:
        raise ValueError(f"Cannot read {name}: {error.strerror}.") from error
    refuse_lfs_pointer(start, name)
    if not start:
        raise ValueError(f"{name} is empty; expected rows with a text and a label.")


def refuse_lfs_pointer(content: bytes, name: str) -> None:
    """Raise ValueError if a file stands for another one, which Git LFS has not fetched yet."""
    if content.startswith(_LFS_POINTER):
        raise ValueError(
            f"{name} is a Git LFS pointer: the repository was cloned without the file itself. Run `git lfs pull` in it."
        )


def check_columns(columns: Sequence[str], name: str) -> None:
    """Raise ValueError if two columns have the same name, or names that differ in case only; unnamed ones may."""
    names = [column for column in columns if column]
    twice = sorted({column for column in names if names.count(column) > 1})
    if twice:
        raise ValueError(
            f"{name} has more than one column named {', '.join(map(repr, twice))}; each needs a name of its own."
        )
    folded = [column.casefold() for column in names]
    alike = [column for column, key in zip(names, folded, strict=True) if folded.count(key) > 1]
    if alike:
        raise ValueError(
            f"{name} has columns whose names differ in case only: {', '.join(map(repr, alike))}. Rename one of them."
        )

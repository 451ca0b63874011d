"""Base class of all file readers. A table returns the columns of one file and yields the values of its rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from research.system.plain_text import for_message

Report = Callable[[int, int, str], None]
"""Function that is called for each bad row with the row number, the line number and the reason."""
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


class Table(ABC):
    """The rows of one file.

    Args:
        name: name of the file in messages.
    """

    fixed_columns = False
    """Whether the file type determines the columns, so that they are not guessed."""
    typed = True
    """Whether the file distinguishes numbers from strings. If not, as in csv files, every value is read as a string."""
    sampled_columns = False
    """Whether `columns` returns only the columns of the first rows. If a row lacks a column, its value is None."""

    def __init__(self, name: str) -> None:
        self.name = for_message(name)  # it is also written to files, and a file name may be invalid Unicode

    @abstractmethod
    def columns(self) -> list[str]:
        """Return the column names.

        Raises:
            ValueError: if the file is empty or cannot be read.
        """

    def string_columns(self) -> list[str]:
        """Return the columns that may hold text."""
        return self.columns()

    def label_names(self, column: str) -> tuple[str, ...] | None:
        """Return the label names that the file declares for a column, ordered by label code; None if it has none."""
        del column
        return None

    def advise_on_separator(self, column: str) -> str | None:
        """Return what to do if a column name seems to be several names, because the file has a different separator.

        Returns:
            Advice, as a sentence; None if the column name is ordinary.
        """
        del column
        return None

    def notes(self) -> list[str]:
        """Return messages about how the file is read, to be logged."""
        return []

    @abstractmethod
    def rows(self, columns: Sequence[str], report: Report) -> Iterator[tuple[int, int, Sequence[Any]]]:
        """Yield the row number, line number and values of each usable row, and call `report` for each bad row.

        Args:
            columns: columns to read.
            report: called for each row that cannot be read.
        Yields:
            Number of the row from 1, number of its line from 1 (0 if the file has no lines), and the value of each
            column.
        """

    def place(self, row: int, line: int) -> str:
        """Return the place of a row as a string for messages."""
        return f"{self.name}, row {row}" + (f" (line {line})" if line not in (0, row) else "")


def check_file(path: Path, name: str) -> None:
    """Raise ValueError unless `path` is a readable file that is not empty."""
    if not path.is_file():
        raise ValueError(f"{name} is not a file.")
    try:
        with path.open("rb") as file:
            start = file.read(len(_LFS_POINTER))
    except OSError as error:
        raise ValueError(f"Cannot read {name}: {error.strerror}.") from error
    refuse_lfs_pointer(start, name)
    if not start:
        raise ValueError(f"{name} is empty; expected at least one row.")


def refuse_lfs_pointer(content: bytes, name: str) -> None:
    """Raise ValueError if the content is a Git LFS pointer, because the file itself has not been fetched yet."""
    if content.startswith(_LFS_POINTER):
        raise ValueError(
            f"{name} is a Git LFS pointer: the repository was cloned without the file itself. Run `git lfs pull` in "
            "the repository."
        )


def check_columns(columns: Sequence[str], name: str) -> None:
    """Raise ValueError if two columns have the same name, or names that differ only in case.

    Several unnamed columns are allowed.
    """
    names = [column for column in columns if column]
    duplicates = sorted({column for column in names if names.count(column) > 1})
    if duplicates:
        raise ValueError(
            f"{name} has more than one column named {', '.join(map(repr, duplicates))}. Give each column a unique name."
        )
    folded = [column.casefold() for column in names]
    alike = [column for column, key in zip(names, folded, strict=True) if folded.count(key) > 1]
    if alike:
        raise ValueError(
            f"{name} has columns whose names differ only in case: {', '.join(map(repr, alike))}. Rename one of them."
        )

"""Read plain text files with one text per line. They have no labels, so a run cannot train on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from research.data.sources.base import Source, identify_files
from research.data.sources.compression import check_text, find_content_suffix
from research.data.sources.fasttext import PREFIX
from research.data.sources.lines import Lines
from research.data.sources.tables import Report, Table
from research.data.sources.text_format import TextFormat
from research.system.paths import expand_path

TEXT_SUFFIX = ".txt"
"""Extension of text files. A fastText file may have it too."""


class TextLinesTable(Table):
    """A file with one text per line. A blank line is a row with an empty text."""

    fixed_columns = True

    def __init__(self, path: Path, name: str, text_format: TextFormat) -> None:
        super().__init__(name)
        self.path = path
        self._format = text_format

    def columns(self) -> list[str]:
        return ["text"]

    def rows(self, columns: Sequence[str], report: Report) -> Iterator[tuple[int, int, Sequence[Any]]]:
        lines = Lines(self.path, self._format.encoding)
        for row, content in enumerate(lines, 1):
            if lines.pop_undecoded():
                report(row, row, self._format.undecoded_reason)
            else:
                yield row, row, [content.rstrip("\r\n")] * len(columns)


def find_text_lines(spec: str, text_format: TextFormat) -> Source | None:
    """Return the source of a .txt file, which may be compressed; None for fastText files and all other data.

    Args:
        spec: value of --data.
        text_format: settings for reading text files.
    Raises:
        ValueError: if the file is empty or cannot be read.
    """
    path = expand_path(spec)
    if not path.is_file() or find_content_suffix(path) != TEXT_SUFFIX:
        return None
    check_text(path, path.name)
    if next(iter(Lines(path, text_format.encoding))).lstrip().startswith(PREFIX):
        return None
    table = TextLinesTable(path, path.name, text_format)
    return Source(
        path.name, identify_files([path]), lambda _: {"train": [table]}, format_settings=frozenset({"encoding"})
    )

"""Read fastText files, which have one text per line after its labels: `__label__good a fine film`."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from research.data.sources.base import FileSource, register_data
from research.data.sources.compression import check_text
from research.data.sources.lines import Lines
from research.data.sources.tables import Report, Table
from research.data.sources.text_format import TextFormat

PREFIX = "__label__"
"""Beginning of each label."""


class FastTextTable(Table):
    """A file with labels and a text in each line. If any line has several labels, the labels of each row are a list."""

    fixed_columns = True

    def __init__(self, path: Path, name: str, text_format: TextFormat) -> None:
        super().__init__(name)
        self.path = path
        self._format = text_format

    def columns(self) -> list[str]:
        check_text(self.path, self.name)
        if not self._max_labels_per_line:
            raise ValueError(
                f"{self.name} has no line that begins with {PREFIX}; expected lines such as '{PREFIX}good a fine film'."
            )
        return ["text", "label"]

    def string_columns(self) -> list[str]:
        return ["text"]

    def rows(self, columns: Sequence[str], report: Report) -> Iterator[tuple[int, int, Sequence[Any]]]:
        has_lists = self._max_labels_per_line > 1
        lines = Lines(self.path, self._format.encoding)
        row = 0
        for content in lines:
            if content.isspace():
                continue
            row += 1
            labels, text = _split(content)
            if lines.pop_undecoded():
                report(row, lines.line_number, self._format.undecoded_reason)
            elif not labels:
                report(row, lines.line_number, f"does not begin with {PREFIX}")
            elif "" in labels:
                report(row, lines.line_number, f"no label name after {PREFIX}")
            else:
                record = {"text": text, "label": labels if has_lists else labels[0]}
                yield row, lines.line_number, [record[column] for column in columns]

    @functools.cached_property
    def _max_labels_per_line(self) -> int:
        """The largest number of labels in any line."""
        return max((len(_split(content)[0]) for content in Lines(self.path, self._format.encoding)), default=0)


@register_data("fasttext")
class FastTextSource(FileSource):
    """fastText files: each line has one or several labels, such as `__label__good`, before the text."""

    suffixes = (".txt", ".ft")
    may_be_metadata = True
    format_settings = ("encoding",)

    def open_table(self, path: Path, name: str, text_format: TextFormat) -> Table:
        return FastTextTable(path, name, text_format)


def _split(line: str) -> tuple[list[str], str]:
    """Return the labels at the beginning of a line, and the text after them."""
    labels = []
    rest = line.strip()
    while rest.startswith(PREFIX):
        word, *remaining = rest.split(maxsplit=1)
        labels.append(word.removeprefix(PREFIX))
        rest = remaining[0] if remaining else ""
    return labels, rest

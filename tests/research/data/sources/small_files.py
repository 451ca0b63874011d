"""Write small data files of all supported types."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from research.data.sources.base import list_file_sources
from tests.builders.good_files import FILE_TYPES, Sheet

SUFFIXES_THAT_ALLOW_ANY_LABEL = [suffix for suffix in list_file_sources() if FILE_TYPES[suffix].content_kind != "texts"]
"""Extensions of the file types in which any string can be a label."""


def write_file(path: Path, rows: Sequence[tuple[str, str]]) -> Path:
    """Write texts and labels to a file, whose extension determines its type."""
    columns = {"text": [text for text, _ in rows], "label": [label for _, label in rows]}
    file_type = FILE_TYPES[path.suffix]
    path.parent.mkdir(parents=True, exist_ok=True)
    content = pa.table(columns) if file_type.content_kind == "arrow" else Sheet(columns)
    path.write_bytes(file_type.write(content))
    return path


def write_delimited_text(path: Path, rows: Sequence[tuple[str, str]], **options: Any) -> Path:
    """Write texts and labels as delimited text. The options are passed to `csv.writer`."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, **options).writerows([("text", "label"), *rows])
    return path

"""Builders of valid files of every supported type. A new type needs one line in FILE_TYPES."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import itertools
import json
import lzma
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

from tests.conftest import WORDS


@dataclass
class Sheet:
    """A table, as columns of Python values, that can be written to a file of any type."""

    columns: dict[str, list[Any]]
    """Values by column name."""
    label_names: tuple[str, ...] = ()
    """Names that the file declares for the ids in its label column."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Data settings that are required to read the file."""

    @property
    def num_rows(self) -> int:
        """Number of rows of the longest column."""
        return max(map(len, self.columns.values()), default=0)

    def rows(self) -> list[list[Any]]:
        """Return the rows as lists of values."""
        return [list(row) for row in zip(*self.columns.values(), strict=True)]


@dataclass(frozen=True)
class FileType:
    """A type of file, and the functions that build the content of such a file."""

    write: Callable[[Sheet], bytes] | Callable[[pa.Table], bytes]
    """Function that returns the content of a file from an Arrow table (if `content_kind` is "arrow") or a sheet."""
    content_kind: Literal["lines", "json_lines", "json", "arrow", "texts", "cells"]
    """Kind of content.

    "lines" are delimited text, "json_lines" is one JSON object per line, "json" is a JSON list of objects (it may be
    the only value of an outer object), "arrow" are Arrow columns, "texts" are fastText lines of labels and text, and
    "cells" are the cells of a workbook.
    """
    compress: Callable[[bytes], bytes] = bytes
    """Function that compresses the content. By default, the content is not compressed."""


def make_valid_sheet(generator: np.random.Generator, content_kind: str) -> Sheet:
    """Return texts, labels of a random kind, and the columns id and day, which no task reads.

    Args:
        generator: generator for all random choices.
        content_kind: kind of content of the file type; some kinds cannot store lists and booleans.
    """
    num_rows = int(generator.integers(24, 48))
    polarities = generator.integers(0, 2, num_rows)
    # WORDS begins with four positive and four negative words. The remaining words are neutral.
    texts = [_make_text(generator, WORDS[:4] if polarity else WORDS[4:8]) for polarity in polarities]
    columns: dict[str, list[Any]] = {"id": list(range(num_rows)), "text": texts}
    columns["day"] = [f"2024-01-{1 + row % 28:02}" for row in range(num_rows)]
    kinds = [
        "names",
        "ids",  # integers for which the file declares label names
        "numbers",
        "scores",
        "pairs",
        *(["lists", "bools"] if content_kind in ("json_lines", "json", "arrow") else []),
    ]
    kind = kinds[generator.integers(len(kinds))]
    sheet = Sheet(columns)
    if kind == "scores":
        columns["label"] = [round(float(polarity + generator.normal()), 3) for polarity in polarities]
    elif kind == "lists":
        columns["label"] = [["odd", "even", "last"][: 1 + row % 3] for row in range(num_rows)]
    elif kind == "bools":
        columns["label"] = [bool(polarity) for polarity in polarities]
    elif kind in ("ids", "numbers"):
        columns["label"] = [int(polarity) for polarity in polarities]
        sheet.label_names = ("negative", "positive") if kind == "ids" else ()
    else:
        columns["label"] = [("negative", "positive")[polarity] for polarity in polarities]
    if kind == "pairs":
        columns["text_pair"] = [_make_text(generator, WORDS) for _ in range(num_rows)]
    return sheet


def _make_text(generator: np.random.Generator, polar_words: Sequence[str]) -> str:
    return " ".join(generator.choice([*polar_words, *WORDS[8:]], size=generator.integers(2, 12)))


def _make_delimited_writer(separator: str) -> Callable[[Sheet], bytes]:
    def write(sheet: Sheet) -> bytes:
        file = io.StringIO(newline="")
        writer = csv.writer(file, delimiter=separator, lineterminator="\n")
        writer.writerow(sheet.columns)
        writer.writerows(sheet.rows())
        return file.getvalue().encode("utf-8", "surrogatepass")

    return write


def _write_json_lines(sheet: Sheet) -> bytes:
    return b"".join(json.dumps(dict(zip(sheet.columns, row, strict=True))).encode() + b"\n" for row in sheet.rows())


def _write_json_list(sheet: Sheet) -> bytes:
    rows = [dict(zip(sheet.columns, row, strict=True)) for row in sheet.rows()]
    return ("[" + ",\n".join(map(json.dumps, rows)) + "]\n").encode()


def _write_wrapped_list(sheet: Sheet) -> bytes:
    return b'{"data": ' + _write_json_list(sheet) + b"}"


def _write_parquet(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=max(table.num_rows // 2, 1), compression="none", write_page_index=True)
    return file.getvalue()


def write_arrow_stream(table: pa.Table) -> bytes:
    """Return the content of an Arrow file as `save_to_disk` of the `datasets` library writes it."""
    file = pa.BufferOutputStream()
    with pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table, max_chunksize=10)
    return file.getvalue().to_pybytes()


def _write_labelled_lines(sheet: Sheet) -> bytes:
    texts, labels = (sheet.columns.get(name, [None] * sheet.num_rows) for name in ("text", "label"))
    lines = []
    for text, label in zip(texts, labels, strict=False):
        names = label if isinstance(label, list) else [label]
        words = [*(f"__label__{name}".replace(" ", "_") for name in names), *str(text).split()]
        lines.append(" ".join(words).encode("utf-8", "surrogatepass") + b"\n")
    return b"".join(lines)


def _write_workbook(sheet: Sheet) -> bytes:
    workbook = openpyxl.Workbook(write_only=True)
    cells = workbook.create_sheet("rows")
    cells.append([_as_cell(name) for name in sheet.columns])
    for row in itertools.zip_longest(*sheet.columns.values()):
        cells.append([_as_cell(value) for value in row])
    workbook.create_sheet("empty")
    file = io.BytesIO()
    workbook.save(file)
    return file.getvalue()


def _as_cell(value: Any) -> Any:
    """Return a value that a workbook can hold."""
    if value is None or isinstance(value, bool | int | float):
        return value if not isinstance(value, int) or abs(value) < 2**53 else str(value)  # cells hold 64-bit floats
    text = str(value).encode("utf-8", "replace").decode()
    return ILLEGAL_CHARACTERS_RE.sub("", text)[:32_767]  # the maximum length of a cell


def _compress_zip(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("reviews.csv", content)
    return file.getvalue()


def _compress_zstd(content: bytes) -> bytes:
    file = pa.BufferOutputStream()
    with pa.CompressedOutputStream(file, "zstd") as stream:
        stream.write(content)
    return file.getvalue().to_pybytes()


_write_csv, _write_tsv = _make_delimited_writer(","), _make_delimited_writer("\t")

FILE_TYPES: dict[str, FileType] = {
    ".csv": FileType(_write_csv, "lines"),
    ".tsv": FileType(_write_tsv, "lines"),
    ".jsonl": FileType(_write_json_lines, "json_lines"),
    ".ndjson": FileType(_write_json_lines, "json_lines"),
    ".json": FileType(_write_json_list, "json"),
    ".JSON": FileType(_write_wrapped_list, "json"),  # in upper case, because .json is the plain list
    ".parquet": FileType(_write_parquet, "arrow"),
    ".txt": FileType(_write_labelled_lines, "texts"),
    ".ft": FileType(_write_labelled_lines, "texts"),
    ".xlsx": FileType(_write_workbook, "cells"),
    ".csv.gz": FileType(_write_csv, "lines", gzip.compress),
    ".csv.zip": FileType(_write_csv, "lines", _compress_zip),
    ".tsv.bz2": FileType(_write_tsv, "lines", bz2.compress),
    ".jsonl.xz": FileType(_write_json_lines, "json_lines", lzma.compress),
    ".json.zst": FileType(_write_json_list, "json", _compress_zstd),
}

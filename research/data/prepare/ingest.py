"""Read all files of a split in one pass: check and clean each row, and write the usable rows to an Arrow file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from research.data.prepare.arrow import RowWriter, read_batches
from research.data.prepare.cleaning import CleaningStep
from research.data.prepare.columns import Columns
from research.data.prepare.groups import BadGroupError, hash_group
from research.data.prepare.labels import BadLabelError, MissingLabelError, read_label
from research.data.prepare.splits import Hashes
from research.data.prepare.texts import INVALID_UNICODE, BadTextError, read_text
from research.data.sources.bad_rows import BadRows
from research.data.sources.reading import read_rows
from research.data.sources.tables import Table
from research.tasks.label_forms import LabelForms

_SCHEMA = pa.schema(
    {
        "text": pa.string(),
        "text_pair": pa.string(),
        "label": pa.list_(pa.string()),
        "id": pa.int64(),
        "table": pa.int32(),
        "row": pa.int64(),
        "line": pa.int64(),
    }
)


@dataclass(frozen=True)
class IngestedRows:
    """The usable rows of one split, stored in an Arrow file in the order of the split's files."""

    path: Path
    """Arrow file with the columns text, text_pair, label (a list of strings, null if the label is missing), id (number
    of the row over all tables of the split, from 0), and table, row and line, which give the row's place."""
    tables: Sequence[Table]
    """Tables of the split. The column `table` of the Arrow file numbers them from `first_table`."""
    first_table: int
    """Number of the split's first table among the tables of all splits."""
    first_ids: Sequence[int]
    """Id of the first row of each table. For an empty table, it is the id that its first row would have."""
    num_read: int
    """Number of rows read, including bad rows."""
    forms: LabelForms
    """How the labels are written in the files."""
    hashes: Hashes
    """Hash of each row's text (or pair of texts), [num_rows]. Texts with the same hash are treated as equal."""
    groups: Hashes | None = None
    """Hash of each row's group, [num_rows]; None if rows have no groups."""

    def __len__(self) -> int:
        return len(self.hashes)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows in batches."""
        return read_batches(self.path)

    def report(self, bad: BadRows, batch: pa.RecordBatch, index: int, reason: str) -> None:
        """Report a row of a batch as a bad row.

        Args:
            bad: collects the bad rows.
            batch: batch that `batches` yielded.
            index: index of the row in the batch.
            reason: what is wrong with the row.
        """
        table, row, line = (batch.column(name)[index].as_py() for name in ("table", "row", "line"))
        bad.add(table, row, self.tables[table - self.first_table].place(row, line), reason)


def ingest(
    tables: Sequence[Table],
    first_table: int,
    columns: Columns,
    clean: CleaningStep,
    *,
    label_separator: str | None,
    keep_unlabelled: bool,
    bad: BadRows,
    path: Path,
) -> IngestedRows:
    """Read the tables of a split, and write their usable rows to a file.

    Args:
        tables: tables of the split.
        first_table: number to give to the first table; the tables of all splits are numbered in one series.
        columns: columns to read.
        clean: function to apply to each text.
        label_separator: separator of several label names in one string.
        keep_unlabelled: whether to keep rows without a label, because the whole split may be unlabelled.
        bad: collects the bad rows.
        path: file to write.
    """
    forms = LabelForms(num_columns=len(columns.label))
    num_texts = 2 if columns.text_pair else 1
    num_labelled = num_texts + len(columns.label)  # columns before that of the group, unless it is a text column
    group_index = None if columns.group is None else columns.names().index(columns.group)
    hashes, groups = bytearray(), bytearray()
    num_read = 0
    first_ids = []
    first_id = 0
    with RowWriter(path, _SCHEMA) as writer:
        for number, table in enumerate(tables, first_table):
            first_ids.append(first_id)
            last_row = 0

            def report(row: int, line: int, reason: str, table: Table = table, number: int = number) -> None:
                nonlocal num_read, last_row
                num_read += 1
                last_row = max(last_row, row)
                bad.add(number, row, table.place(row, line), reason)

            for row, line, values in read_rows(table, columns.names(), report):
                num_read += 1
                last_row = max(last_row, row)
                try:
                    texts = [read_text(value, clean) for value in values[:num_texts]]
                    label = read_label_columns(
                        values[num_texts:num_labelled], forms, label_separator, typed=table.typed
                    )
                    if label is None and not keep_unlabelled:
                        raise MissingLabelError
                    content = "\0".join(texts).encode()
                    group = b"" if group_index is None else hash_group(values[group_index])
                except UnicodeEncodeError:
                    bad.add(number, row, table.place(row, line), INVALID_UNICODE)
                    continue
                except (BadTextError, BadLabelError, BadGroupError) as error:
                    bad.add(number, row, table.place(row, line), str(error))
                    continue
                hashes += hashlib.blake2b(content, digest_size=8).digest()
                groups += group
                pair = texts[1] if columns.text_pair else None
                writer.append((texts[0], pair, label, first_id + row - 1, number, row, line), len(content))
            first_id += last_row
    return IngestedRows(
        path,
        tables,
        first_table,
        first_ids,
        num_read,
        forms,
        np.frombuffer(hashes, dtype=np.uint64),
        None if group_index is None else np.frombuffer(groups, dtype=np.uint64),
    )


def read_label_columns(
    values: Sequence[Any], forms: LabelForms, separator: str | None, *, typed: bool
) -> list[str] | None:
    """Return the values of the label columns as strings; None if the label is missing."""
    if not values:
        return None
    try:
        label = _split_names(values[0], separator) if len(values) == 1 else list(values)
        return read_label(label, forms, typed=typed)
    except MissingLabelError:
        return None


def _split_names(label: Any, separator: str | None) -> Any:
    """Split a string into a list of label names. A blank string stays unchanged.

    Without a separator, or if the label is not a string, the label is returned as it is.
    """
    if separator is None or not isinstance(label, str) or not label.strip():
        return label
    return [name.strip() for name in label.split(separator) if name.strip()]

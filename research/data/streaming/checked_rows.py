"""Check, clean and label rows of a buffer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from research.data.prepare.ingest import read_label_columns
from research.data.prepare.labels import BadLabelError, MissingLabelError
from research.data.prepare.streamed import StreamedRows
from research.data.prepare.texts import INVALID_UNICODE, BadTextError, read_text
from research.data.sources.arrow_tables import read_batch
from research.data.sources.bad_rows import BadRows
from research.data.streaming.pieces import Part
from research.tasks.label_forms import LabelForms


@dataclass(frozen=True)
class Chunk(Part):
    """Consecutive rows of a file, as they were read."""

    table: int
    """Number of the file."""
    first_row: int
    """Number of rows in the file before these rows."""
    batch: pa.RecordBatch
    """The rows."""

    def __len__(self) -> int:
        return self.batch.num_rows

    def cut(self, start: int, stop: int) -> Chunk:
        return Chunk(self.table, self.first_row + start, self.batch.slice(start, stop - start))


@dataclass(frozen=True)
class CheckedRows:
    """The usable rows of a buffer, in the order in which they were read."""

    ids: NDArray[np.int64]
    """Number of each row over all files, from 0, [num_rows]."""
    texts: Sequence[Sequence[str]]
    """The text of each row, or both texts of each pair: one sequence per text column."""
    labels: Sequence[Any]
    """Label of each row, in the form in which prepared data stores it."""
    num_read: int
    """Number of rows, including bad rows."""
    bad: BadRows
    """The bad rows."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> NDArray[np.int32]:
        """Length of each row in characters, [num_rows]."""
        lengths = [sum(map(len, texts)) for texts in zip(*self.texts, strict=True)]
        return np.array(lengths, dtype=np.int32)


def check_rows(rows: StreamedRows, chunks: Iterable[Chunk]) -> CheckedRows:
    """Check, clean and label rows.

    Args:
        rows: the training rows.
        chunks: the rows that were read.
    Raises:
        ValueError: if labels are lists, but those of the validation rows are not, or the other way round.
    """
    bad = BadRows(rows.bad_rows)
    forms = LabelForms(num_columns=len(rows.columns.label))
    num_texts, first_ids = len(rows.columns.text_columns), rows.first_ids
    ids: list[int] = []
    tables: list[int] = []
    texts: list[list[str]] = []
    labels: list[list[str]] = []
    num_read = 0

    def report(table: int, row: int, reason: str) -> None:
        bad.add(table, row, rows.tables[table].place(row, 0), reason)

    for chunk in chunks:
        table = rows.tables[chunk.table]
        num_read += len(chunk)

        def report_row(row: int, _: int, reason: str, number: int = chunk.table) -> None:
            report(number, row, reason)

        for row, _, values in read_batch(chunk.batch, chunk.first_row, rows.declared_names[chunk.table], report_row):
            try:
                row_texts = [read_text(value, rows.clean) for value in values[:num_texts]]
                label = read_label_columns(values[num_texts:], forms, rows.label_separator, typed=table.typed)
                if label is None:
                    raise MissingLabelError
                "".join(row_texts).encode()
            except UnicodeEncodeError:
                report(chunk.table, row, INVALID_UNICODE)
                continue
            except (BadTextError, BadLabelError) as error:
                report(chunk.table, row, str(error))
                continue
            ids.append(first_ids[chunk.table] + row - 1)
            tables.append(chunk.table)
            texts.append(row_texts)
            labels.append(label)
    if forms.forms and (forms.is_mixed or forms.has_lists != rows.label_form.in_lists):
        raise ValueError(
            f"Column '{rows.columns.joined_label_columns}' holds {'lists' if forms.has_lists else 'single labels'} in "
            f"training rows, but {'lists' if rows.label_form.in_lists else 'single labels'} in validation rows; use "
            "the same form in all rows."
        )
    label_array = pa.array(labels, pa.list_(pa.string()))
    unusable = rows.encoder.find_unusable(label_array)
    for index, reason in unusable.items():
        report(tables[index], ids[index] - first_ids[tables[index]] + 1, reason)
    usable = np.setdiff1d(np.arange(len(ids)), np.fromiter(unusable, dtype=np.int64, count=len(unusable)))
    encoded = rows.encoder.encode_labels(label_array.take(pa.array(usable)))
    return CheckedRows(
        np.array(ids, dtype=np.int64)[usable],
        list(zip(*(texts[index] for index in usable), strict=True)) or [()] * num_texts,
        encoded.to_pylist(),
        num_read,
        bad,
    )

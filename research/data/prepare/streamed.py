"""Training rows that are read during training (--streaming): their files, and how their labels are encoded."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from research.data.prepare import cleaning
from research.data.prepare.cleaning import CleaningStep
from research.data.prepare.columns import Columns, check_columns_exist
from research.data.prepare.label_encoder import LabelEncoder
from research.data.prepare.label_lists import (
    DECLARED_NAMES,
    INDICATORS,
    NAMES,
    NUMBERS,
    IndicatorReader,
    LabelReader,
    NameReader,
)
from research.data.prepare.labels import LabelCodes
from research.data.prepare.learn_labels import create_name_encoder
from research.data.prepare.score_encoder import ScoreEncoder
from research.data.sources.arrow_tables import ArrowTable, ParquetTable
from research.data.sources.footers import Footer
from research.data.sources.hub_tables import IterableTable
from research.data.sources.reading import convert_read_errors
from research.data.sources.split_names import SPLIT_NAMES
from research.data.sources.tables import Table
from research.settings.config import DataSettings
from research.tasks.base import Task

_NUM_THREADS = 16
"""Number of threads that read footers. On the Hub, a footer takes several requests."""
SOURCE_OF_STREAMED_LABELS = "validation rows, from which --streaming learns the labels"
"""Source of the labels, for messages."""


@dataclass(frozen=True)
class LabelForm:
    """How labels are written in the rows from which they were learned."""

    name: str
    """One of the forms in `label_lists`."""
    in_lists: bool
    """Whether the label of a row is a list."""


@dataclass(frozen=True)
class RowGroup:
    """Rows of a parquet file that are stored together."""

    table: int
    """Number of the file."""
    index: int
    """Number of the row group in the file."""
    first_row: int
    """Number of rows in the file before the row group."""
    num_rows: int
    """Number of rows."""


@dataclass(frozen=True)
class StreamedRows:
    """The training rows of a data set before they are read. They take the place of `Splits.train`."""

    tables: Sequence[ArrowTable]
    """The files."""
    columns: Columns
    """The columns to read."""
    declared_names: Sequence[Sequence[tuple[str, ...] | None]]
    """Label names that each file declares, for each of the columns."""
    clean: CleaningStep
    """Function to apply to each text."""
    label_separator: str | None
    """Separator of several label names in one string."""
    encoder: LabelEncoder
    """Encodes the labels."""
    label_form: LabelForm
    """How the labels are written."""
    bad_rows: Literal["error", "skip"]
    """What to do with bad rows."""
    row_groups: Sequence[RowGroup]
    """Row groups of all files, in order. Empty if the files are not parquet."""
    identity: str
    """Hash that changes with the files, or with how they are read."""

    @functools.cached_property
    def num_rows(self) -> int | None:
        """Number of rows in the files, including bad rows; None if it is not known without reading them."""
        return sum(group.num_rows for group in self.row_groups) if self.row_groups else None

    @property
    def column_names(self) -> list[str]:
        """Names of the columns that prepared rows would have."""
        return ["id", "text", *(["text_pair"] if self.columns.text_pair else []), "label"]

    @functools.cached_property
    def first_ids(self) -> list[int]:
        """Id of the first row of each file. If the number of rows is not known, there is only one file."""
        num_rows = np.zeros(len(self.tables), dtype=np.int64)
        for group in self.row_groups:
            num_rows[group.table] += group.num_rows
        first_ids: list[int] = (np.cumsum(num_rows) - num_rows).tolist()
        return first_ids

    @property
    def files(self) -> list[tuple[str, int]]:
        """The files, each with the id of its first row."""
        return list(zip((table.name for table in self.tables), self.first_ids, strict=True))


def check_splits_exist(name: str, tables: Mapping[str, Sequence[Table]]) -> None:
    """Check that a data set has all splits.

    Raises:
        ValueError: if not, since splitting off rows means reading all of them.
    """
    missing = [split for split in SPLIT_NAMES if split not in tables]
    if missing:
        raise ValueError(
            f"--streaming expects train, validation and test splits; {name} has no {' and no '.join(missing)} split. "
            "Write some of the training rows to a file for it, or omit --streaming."
        )


def open_streamed_rows(
    name: str,
    tables: Sequence[Table],
    source_identity: Sequence[Any],
    settings: DataSettings,
    facts: Mapping[str, Any],
    task_class: type[Task],
) -> StreamedRows:
    """Return the training rows of a data set. Of parquet files, only the footers are read.

    Args:
        name: name of the data set in messages.
        tables: the training files.
        source_identity: identity of the data set, which takes the place of footers if the files are not parquet.
        settings: the data settings.
        facts: facts about the validation and test rows; see `prepare`.
        task_class: the task.
    Raises:
        ValueError: if the files cannot be streamed, or differ in their columns or labels from the validation rows.
    """
    text, *pair = facts["text_columns"]
    columns = Columns(text, pair[0] if pair else None, tuple(facts["label_columns"]))
    form = LabelForm(**facts["label_form"])
    row_groups: list[RowGroup] = []
    declared_names = []
    hashes: list[Any] = []
    with ThreadPoolExecutor(_NUM_THREADS) as executor:
        footers = list(executor.map(_read_footer, tables))
    for number, (table, footer) in enumerate(zip(tables, footers, strict=True)):
        with convert_read_errors(table.name):
            check_columns_exist(columns.names(), table)
            declared_names.append([table.label_names(column) for column in columns.names()])
            _check_declared_names(table.name, declared_names[-1][-1], columns, form)
            if footer is not None:
                starts = np.cumsum(footer.num_rows) - footer.num_rows
                row_groups += [
                    RowGroup(number, index, int(start), num_rows)
                    for index, (start, num_rows) in enumerate(zip(starts, footer.num_rows, strict=True))
                    if num_rows
                ]
                hashes.append([table.name, footer.sha256])
            elif isinstance(table, IterableTable):
                hashes.append([table.name, list(source_identity)])
            else:
                raise ValueError(
                    f"--streaming expects training rows in parquet files; found {table.name}. Convert it, or omit "
                    "--streaming."
                )
    arrow_tables = [table for table in tables if isinstance(table, ArrowTable)]
    if not row_groups and isinstance(arrow_tables[0], ParquetTable):
        raise ValueError(f"{name} has no rows for train.")
    encoder = restore_encoder(form, columns, facts["label_names"], task_class)
    reading = [columns.names(), cleaning.fingerprint_steps(settings.cleaning), settings.label_separator]
    identity = json.dumps([hashes, reading, facts["label_names"], facts["label_form"], facts["task"]])
    return StreamedRows(
        tables=arrow_tables,
        columns=columns,
        declared_names=declared_names,
        clean=cleaning.compose(settings.cleaning),
        label_separator=settings.label_separator,
        encoder=encoder,
        label_form=form,
        bad_rows=settings.bad_rows,
        row_groups=row_groups,
        identity=hashlib.sha256(identity.encode()).hexdigest(),
    )


def _read_footer(table: Table) -> Footer | None:
    """Return the footer of a file; None if it is not a parquet file."""
    with convert_read_errors(table.name):
        return table.read_footer() if isinstance(table, ParquetTable) else None


def _check_declared_names(name: str, names: Sequence[str] | None, columns: Columns, form: LabelForm) -> None:
    """Check that a training file declares label names if and only if the validation files do.

    Args:
        name: name of the file in messages.
        names: label names that the file declares; None if it declares none.
        columns: the columns that are read.
        form: how the labels of the validation rows are written.
    Raises:
        ValueError: if not.
    """
    if form.name not in (NAMES, DECLARED_NAMES):
        return
    column, declares = columns.joined_label_columns, names is not None
    if declares != (form.name == DECLARED_NAMES):
        raise ValueError(
            f"{name} {'declares' if declares else 'does not declare'} label names for column '{column}', but the "
            f"validation rows {'have none' if declares else 'do'}. Save both with label names, or both without."
        )


def restore_encoder(
    form: LabelForm, columns: Columns, label_names: Sequence[str], task_class: type[Task]
) -> LabelEncoder:
    """Return the label encoder that was learned from the validation rows.

    Args:
        form: how the labels are written.
        columns: the columns that are read.
        label_names: label names in the order of their codes.
        task_class: the task.
    """
    column = columns.joined_label_columns
    encoder: LabelEncoder
    if form.name == NUMBERS:
        encoder = ScoreEncoder(task_class, column)
    else:
        reader: LabelReader
        if form.name == INDICATORS:
            reader = IndicatorReader(label_names)
        else:
            learn = LabelCodes.from_declared if form.name == DECLARED_NAMES else LabelCodes.learn
            reader = NameReader(learn(label_names))
        encoder = create_name_encoder(task_class, column, reader, np.ones(len(label_names), dtype=np.int64), ())
    encoder.accept_declared_labels(SOURCE_OF_STREAMED_LABELS)
    return encoder

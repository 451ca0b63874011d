"""Detect test rows without labels. Such rows are predicted, but no metrics are computed on them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from research.data.prepare.columns import Columns
from research.data.prepare.ingest import IngestedRows
from research.data.prepare.label_encoder import LabelEncoder
from research.data.prepare.label_lists import count_values_per_list
from research.data.prepare.labels import POSSIBLE_MISSING_MARKS, find_distinct_values
from research.data.sources.column_names import LABEL_NAMES
from research.data.sources.reading import convert_read_errors
from research.data.sources.tables import Table

SPLIT_THAT_MAY_LACK_LABELS = "test"
"""The only split that may have no labels: training and model selection need the labels of the other splits."""
_MARK = re.compile(rf"-1(\.0*)?|{'|'.join(POSSIBLE_MISSING_MARKS)}", re.IGNORECASE)
"""Matches marks of missing labels, such as NA (written by programs) or -1 (written to keep test labels secret)."""


def lacks_label_columns(tables: Sequence[Table], columns: Columns, train: Table) -> bool:
    """Return whether no file of a split has a label column.

    Args:
        tables: the split's files.
        columns: the columns that are read from the training rows.
        train: a file of training rows.
    Raises:
        ValueError: if a column with a different name may hold the labels.
    """
    expected = columns.joined_label_columns
    train_columns = train.columns()
    for table in tables:
        with convert_read_errors(table.name):
            table_columns = table.columns()
        if not set(table_columns).isdisjoint(columns.label):
            return False
        for column in table_columns:
            if column not in train_columns and _resembles_label(column, columns):
                raise ValueError(
                    f"{table.name} has no column '{expected}', but '{column}' may hold labels. Rename it to "
                    f"'{expected}', or remove it if the rows have no labels."
                )
    return True


def _resembles_label(column: str, columns: Columns) -> bool:
    """Return whether a column has one of the usual names of label columns, or a name similar to a label column's."""
    name = column.strip().lower()
    return name in LABEL_NAMES or bool(difflib.get_close_matches(name, [label.lower() for label in columns.label]))


def explain_unlabelled(rows: IngestedRows, learning_rows: IngestedRows, encoder: LabelEncoder) -> str | None:
    """Return the reason why a split counts as unlabelled; None if it has labels.

    Args:
        rows: rows of the split.
        learning_rows: the rows from which the labels were learned.
        encoder: label encoder.
    """
    marks: set[str] = set()
    for batch in rows.batches():
        labels = batch.column("label").drop_null()
        if len(labels) and (count_values_per_list(labels) == 0).any():
            return None  # an empty list is a label: it means that no label applies
        values = find_distinct_values(labels.flatten())
        if not all(_MARK.fullmatch(value.strip()) for value in values):
            return None
        marks |= {value.strip() for value in values}
    if not len(rows) or (marks and encoder.may_be_real_labels(marks, learning_rows)):
        return None
    return f"all labels are {' or '.join(sorted(marks))}" if marks else "no row has a label"

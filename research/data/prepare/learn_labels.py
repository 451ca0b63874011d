"""Learn the task and the label names from the training rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from research.data.prepare.columns import Columns
from research.data.prepare.ingest import IngestedRows
from research.data.prepare.label_encoder import LabelEncoder
from research.data.prepare.label_lists import IndicatorReader, LabelReader, NameReader
from research.data.prepare.label_warnings import warn_of_other_interpretations, warn_of_spellings
from research.data.prepare.labels import LabelCodes, count_values
from research.data.prepare.name_encoder import MultiLabelEncoder, NameEncoder, SingleLabelEncoder
from research.data.prepare.score_encoder import ScoreEncoder
from research.data.prepare.splits import Integers
from research.data.sources.reading import convert_read_errors
from research.tasks.base import Task
from research.tasks.guess import guess_from_indicators, guess_task

_MAX_SCORES_COUNTED = 10_000
"""Number of distinct labels after which counting stops if some of them are floats."""


def learn_labels(train: IngestedRows, columns: Columns, task_class: type[Task] | None) -> LabelEncoder:
    """Learn from the training rows how to encode labels, and return the label encoder.

    Args:
        train: training rows.
        columns: the columns that were read.
        task_class: task; None to guess it.
    Raises:
        ValueError: if the labels are inconsistent or do not fit the task, or there are fewer labels than it needs.
    """
    column = columns.joined_label_columns
    if task_class is not None:
        task_class.check_forms(train.forms, column)
    if train.forms.indicator_length is not None:
        return _learn_indicators(train, columns, task_class)
    rows_per_label = _count_labels(train)
    guessed = task_class is None
    task_class = task_class or guess_task(train.forms, rows_per_label, column)
    if task_class.labels_are_numbers:
        notes = warn_of_other_interpretations(task_class, train.forms, rows_per_label, column) if guessed else []
        return ScoreEncoder(task_class, column, notes)
    declared = _read_declared_names(train, column)
    codes = LabelCodes.learn(rows_per_label) if declared is None else LabelCodes.from_declared(declared)
    reader = NameReader(codes)
    counts = _count_codes(train, reader)
    _check_num_labels(counts, reader.names, task_class, column)
    notes = []
    if guessed and declared is None:
        by_name = dict(zip(codes.names, counts.tolist(), strict=True))
        notes += warn_of_other_interpretations(task_class, train.forms, by_name, column)
    if declared is None:
        notes += warn_of_spellings(codes.find_spellings(rows_per_label), codes.names, column)
    return create_name_encoder(task_class, column, reader, counts, notes)


def _learn_indicators(train: IngestedRows, columns: Columns, task_class: type[Task] | None) -> LabelEncoder:
    """Learn label names from lists that hold a 0 or 1 for each label, or from a column of zeros and ones per label."""
    num_labels = train.forms.indicator_length
    assert num_labels is not None
    in_columns = len(columns.label) > 1
    reader = IndicatorReader(columns.label if in_columns else [str(index) for index in range(num_labels)])
    counts = np.zeros(num_labels, dtype=np.int64)
    is_one_hot = True
    first_invalid: list[str] | None = None
    for batch in train.batches():
        labels = reader.read(batch.column("label"))
        if labels.invalid.any() and first_invalid is None:
            first_invalid = batch.column("label")[int(np.argmax(labels.invalid))].as_py()
        counts += np.bincount(labels.codes, minlength=num_labels)
        is_one_hot &= bool((labels.lengths[~labels.invalid] == 1).all())
    task_class = task_class or guess_from_indicators(is_one_hot=is_one_hot)
    try:
        _check_num_labels(counts, reader.names, task_class, columns.joined_label_columns)
    except ValueError:
        if first_invalid is None:
            raise
        # Too few labels may result from invalid rows, so the message is about the first of these.
        reason = reader.explain_unreadable(first_invalid)
        raise ValueError(f"Columns '{columns.joined_label_columns}': {reason}.") from None
    form = "one-hot" if is_one_hot else "multi-hot"
    source = "Columns" if in_columns else "Lists in column"
    naming = "" if in_columns else "; labels are named by their position, from 0"
    note = (
        f"{source} '{columns.joined_label_columns}' hold a 0 or 1 for each of {num_labels} labels ({form}), read as "
        f"{task_class.name}{naming}."
    )
    return create_name_encoder(task_class, columns.joined_label_columns, reader, counts, [note])


def create_name_encoder(
    task_class: type[Task], column: str, reader: LabelReader, counts: Integers, notes: Sequence[str]
) -> NameEncoder:
    """Return a label encoder for one or several label names per row, as the task requires."""
    encoder = MultiLabelEncoder if task_class.several_per_row else SingleLabelEncoder
    return encoder(task_class, column, reader, counts, notes)


def _read_declared_names(train: IngestedRows, column: str) -> Sequence[str] | None:
    """Return the label names that the training files declare; None if they declare no names.

    Raises:
        ValueError: if some files declare names and other files do not.
    """
    # The first file that declares names (key True), and the first that does not (key False).
    examples: dict[bool, tuple[str, Sequence[str] | None]] = {}
    for table in train.tables:
        with convert_read_errors(table.name):
            names = table.label_names(column)
        examples.setdefault(names is not None, (table.name, names))
    if len(examples) > 1:
        raise ValueError(
            f"{examples[True][0]} declares label names for column '{column}', but {examples[False][0]} does not. Save "
            "both files with label names, or both without."
        )
    ((_, declared),) = examples.values()
    return declared


def _count_labels(train: IngestedRows) -> Counter[str]:
    """Return the number of training rows per label, as written in the file.

    If some labels are floats, the labels are probably scores, and counting stops after many distinct labels.
    """
    counts: Counter[str] = Counter()
    for batch in train.batches():
        counts.update(count_values(batch.column("label").flatten()))
        if "float" in train.forms.type_names and len(counts) > _MAX_SCORES_COUNTED:
            break
    return counts


def _count_codes(train: IngestedRows, reader: LabelReader) -> Integers:
    """Return the number of training rows per label code, [num_labels]."""
    counts = np.zeros(len(reader.names), dtype=np.int64)
    for batch in train.batches():
        codes = reader.read(batch.column("label")).codes
        counts += np.bincount(codes[codes >= 0], minlength=len(counts))
    return counts


def _check_num_labels(counts: Integers, names: Sequence[str], task_class: type[Task], column: str) -> None:
    """Raise ValueError if the training rows have fewer labels than the task needs."""
    present = [name for name, count in zip(names, counts, strict=True) if count]
    if len(present) < task_class.fewest_labels:
        names_present = ", ".join(map(repr, present)) or "none"
        needed = f"{task_class.fewest_labels} label{'s' if task_class.fewest_labels > 1 else ''}"
        raise ValueError(f"Column '{column}' needs at least {needed} in the training rows; found {names_present}.")

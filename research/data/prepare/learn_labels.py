"""Learn the task and the label names from the training rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from research.data.prepare.columns import Columns
from research.data.prepare.ingest import IngestedRows
from research.data.prepare.label_encoder import LabelEncoder
from research.data.prepare.label_lists import IndicatorReader, LabelReader, NameReader
from research.data.prepare.labels import LabelCodes, count_values
from research.data.prepare.name_encoder import NameEncoder, OneNameEncoder, SeveralNamesEncoder
from research.data.prepare.score_encoder import ScoreEncoder
from research.data.prepare.second_readings import warn_of_second_readings, warn_of_spellings
from research.data.prepare.splits import Integers
from research.data.sources.reading import convert_read_errors
from research.tasks.base import Task
from research.tasks.guess import guess_from_indicators, guess_task

_MAX_SCORES_COUNTED = 10_000
"""Number of distinct labels after which counting stops if some of them are floats."""


def learn_labels(train: IngestedRows, columns: Columns, kind: type[Task] | None) -> LabelEncoder:
    """Learn from the training rows how to encode labels, and return the label encoder.

    Args:
        train: training rows.
        columns: the columns that were read.
        kind: task; None to guess it.
    Raises:
        ValueError: if the labels do not fit the task, or there is only one label.
    """
    column = columns.label_name
    if kind is not None:
        kind.check_forms(train.forms, column)
    if train.forms.indicator_length is not None:
        return _learn_indicators(train, columns, kind)
    rows_per_label = _count_labels(train)
    guessed = kind is None
    kind = kind or guess_task(train.forms, rows_per_label, column)
    if kind.labels_are_numbers:
        return ScoreEncoder(
            kind, column, warn_of_second_readings(kind, train.forms, rows_per_label, column) if guessed else []
        )
    declared = _declared_names(train, column)
    codes = LabelCodes.learn(rows_per_label) if declared is None else LabelCodes.declared(declared)
    reader = NameReader(codes)
    counts = _count_codes(train, reader)
    _check_num_labels(counts, reader.names, kind, column)
    notes = []
    if guessed and declared is None:
        by_name = dict(zip(codes.names, counts.tolist(), strict=True))
        notes += warn_of_second_readings(kind, train.forms, by_name, column)
    if declared is None:
        notes += warn_of_spellings(codes.spellings(rows_per_label), codes.names, column)
    return _create_name_encoder(kind, column, reader, counts, notes)


def _learn_indicators(train: IngestedRows, columns: Columns, kind: type[Task] | None) -> LabelEncoder:
    """Learn label names from lists that hold a 0 or 1 for each label, or from a column of zeros and ones per label."""
    num_labels = train.forms.indicator_length
    assert num_labels is not None
    in_columns = len(columns.label) > 1
    reader = IndicatorReader(columns.label if in_columns else [str(index) for index in range(num_labels)])
    counts = np.zeros(num_labels, dtype=np.int64)
    is_one_hot = True
    invalid: list[list[str]] = []
    for batch in train.batches():
        labels = reader.read(batch.column("label"))
        if labels.invalid.any() and not invalid:
            invalid.append(batch.column("label")[int(np.argmax(labels.invalid))].as_py())
        counts += np.bincount(labels.codes, minlength=num_labels)
        is_one_hot &= bool((labels.lengths[~labels.invalid] == 1).all())
    kind = kind or guess_from_indicators(is_one_hot=is_one_hot)
    try:
        _check_num_labels(counts, reader.names, kind, columns.label_name)
    except ValueError:
        for label in invalid:  # an invalid row explains more than the lack of labels that it causes
            raise ValueError(f"Columns '{columns.label_name}': {reader.explain(label)}.") from None
        raise
    form = "one-hot" if is_one_hot else "multi-hot"
    source = "Columns" if in_columns else "Lists in column"
    naming = "" if in_columns else "; labels are named by their position, from 0"
    note = (
        f"{source} '{columns.label_name}' hold a 0 or 1 for each of {num_labels} labels ({form}), read as "
        f"{kind.problem_type}{naming}."
    )
    return _create_name_encoder(kind, columns.label_name, reader, counts, [note])


def _create_name_encoder(
    kind: type[Task], column: str, reader: LabelReader, counts: Integers, notes: Sequence[str]
) -> NameEncoder:
    """Return a label encoder for one or several label names per row, as the task requires."""
    encoder = SeveralNamesEncoder if kind.several_per_row else OneNameEncoder
    return encoder(kind, column, reader, counts, notes)


def _declared_names(train: IngestedRows, column: str) -> Sequence[str] | None:
    """Return the label names that the training files declare; None if they declare no names.

    Raises:
        ValueError: if some files declare names and other files do not.
    """
    # One file that declares names (key False), and one that does not (key True).
    examples: dict[bool, tuple[str, Sequence[str] | None]] = {}
    for table in train.tables:
        with convert_read_errors(table.name):
            names = table.label_names(column)
        examples.setdefault(names is None, (table.name, names))
    if len(examples) > 1:
        raise ValueError(
            f"{examples[False][0]} declares label names for column '{column}', but {examples[True][0]} does not. Save "
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


def _check_num_labels(counts: Integers, names: Sequence[str], kind: type[Task], column: str) -> None:
    """Raise ValueError if the training rows have fewer labels than the task needs."""
    present = [name for name, count in zip(names, counts, strict=True) if count]
    if len(present) < kind.fewest_labels:
        names_present = ", ".join(map(repr, present)) or "none"
        needed = f"{kind.fewest_labels} label{'s' if kind.fewest_labels > 1 else ''}"
        raise ValueError(f"Column '{column}' needs at least {needed} in the training rows; found {names_present}.")

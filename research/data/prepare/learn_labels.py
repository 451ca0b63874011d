"""Learn the kind of labels and their names from the training rows."""

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
from research.data.sources.reading import reading
from research.tasks.base import Task
from research.tasks.guess import guess_from_indicators, guess_task

_MOST_SCORES_COUNTED = 10_000


def learn_labels(train: IngestedRows, columns: Columns, kind: type[Task] | None) -> LabelEncoder:
    """Return what encodes the labels of all rows.

    Args:
        train: the training rows.
        columns: what was read of the files.
        kind: the kind of labels; None to guess it.
    Raises:
        ValueError: if the labels do not fit the task, or there is only one.
    """
    column = columns.label_name
    if kind is not None:
        kind.check_forms(train.forms, column)
    if train.forms.indicator_length is not None:
        return _learn_indicators(train, columns, kind)
    values = _count_labels(train)
    guessed = kind is None
    kind = kind or guess_task(train.forms, values, column)
    if kind.labels_are_numbers:
        return ScoreEncoder(kind, column, warn_of_second_readings(kind, train.forms, values, column) if guessed else [])
    declared = _declared_names(train, column)
    codes = LabelCodes.learn(values) if declared is None else LabelCodes.declared(declared)
    reader = NameReader(codes)
    counts = _count_codes(train, reader)
    _check_several(counts, reader.names, kind, column)
    notes = []
    if guessed and declared is None:
        by_name = dict(zip(codes.names, counts.tolist(), strict=True))
        notes += warn_of_second_readings(kind, train.forms, by_name, column)
    if declared is None:
        notes += warn_of_spellings(codes.spellings(values), codes.names, column)
    return _encode_names(kind, column, reader, counts, notes)


def _learn_indicators(train: IngestedRows, columns: Columns, kind: type[Task] | None) -> LabelEncoder:
    """Learn from lists that hold a 0 or 1 for each label, or from a column of them for each label."""
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
        _check_several(counts, reader.names, kind, columns.label_name)
    except ValueError:
        for label in invalid:  # it explains more than what it leaves
            raise ValueError(f"Columns '{columns.label_name}': {reader.explain(label)}.") from None
        raise
    form = "one-hot" if is_one_hot else "multi-hot"
    where = "Columns" if in_columns else "Lists in column"
    numbered = "" if in_columns else "; labels are named by their position, from 0"
    note = (
        f"{where} '{columns.label_name}' hold a 0 or 1 for each of {num_labels} labels ({form}), read as "
        f"{kind.problem_type}{numbered}."
    )
    return _encode_names(kind, columns.label_name, reader, counts, [note])


def _encode_names(
    kind: type[Task], column: str, reader: LabelReader, counts: Integers, notes: Sequence[str]
) -> NameEncoder:
    encoder = SeveralNamesEncoder if kind.several_per_row else OneNameEncoder
    return encoder(kind, column, reader, counts, notes)


def _declared_names(train: IngestedRows, column: str) -> Sequence[str] | None:
    """Return the label names that the training files declare, None if they declare none.

    Raises:
        ValueError: if some files declare names and others do not.
    """
    found: dict[bool, tuple[str, Sequence[str] | None]] = {}
    for table in train.tables:
        with reading(table.name):
            names = table.label_names(column)
        found.setdefault(names is None, (table.name, names))
    if len(found) > 1:
        raise ValueError(
            f"{found[False][0]} declares names for the labels in '{column}', and {found[True][0]} does not. Save them "
            "alike."
        )
    ((_, declared),) = found.values()
    return declared


def _count_labels(train: IngestedRows) -> Counter[str]:
    """Return the training rows per label as the file writes it; of scores, of which many differ, not all."""
    counts: Counter[str] = Counter()
    for batch in train.batches():
        counts.update(count_values(batch.column("label").flatten()))
        if "float" in train.forms.scalars and len(counts) > _MOST_SCORES_COUNTED:
            break
    return counts


def _count_codes(train: IngestedRows, reader: LabelReader) -> Integers:
    """Return the training rows per label."""
    counts = np.zeros(len(reader.names), dtype=np.int64)
    for batch in train.batches():
        codes = reader.read(batch.column("label")).codes
        counts += np.bincount(codes[codes >= 0], minlength=len(counts))
    return counts


def _check_several(counts: Integers, names: Sequence[str], kind: type[Task], column: str) -> None:
    """Raise ValueError if the training rows have no two labels to tell apart."""
    met = [name for name, count in zip(names, counts, strict=True) if count]
    if len(met) < kind.fewest_labels:
        raise ValueError(
            f"Column '{column}' has only one label in the training rows, {', '.join(map(repr, met)) or 'none'}; "
            "there is nothing to tell apart."
        )

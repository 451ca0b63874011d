"""The labels of a whole data set: learned from its training rows, then applied to every split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from research.data.prepare.columns import Columns
from research.data.prepare.ingest import Rows
from research.data.prepare.label_lists import IndicatorReader, LabelReader, NameReader, RowLabels, list_lengths
from research.data.prepare.labels import (
    MISSING,
    LabelCodes,
    check_problem_type,
    count_values,
    distinct,
    guess_problem_type,
    parse_scores,
)
from research.data.prepare.second_readings import warn_of_second_readings, warn_of_spellings
from research.data.prepare.splits import Integers, Strata, bin_scores
from research.data.sources.bad_rows import BadRows
from research.data.sources.reading import reading
from research.tasks.task import ProblemType

_LABEL_TYPES = {"single_label": pa.int64(), "multi_label": pa.list_(pa.int64()), "regression": pa.float64()}
_NUM_NAMES_SHOWN = 10
_MOST_SCORES_COUNTED = 10_000
_LARGEST_SCORE = float(np.finfo(np.float32).max)
"""Scores are predicted in 32 bits."""


class LabelEncoder:
    """Turns the labels of rows into numbers.

    Args:
        problem_type: the task.
        column: name of the label column.
        reader: label names and their numbers; None for regression.
        counts: training rows per label.
        notes: what to report about how the labels are read.
    """

    def __init__(
        self,
        problem_type: ProblemType,
        column: str,
        reader: LabelReader | None,
        counts: Integers,
        notes: Sequence[str] = (),
    ) -> None:
        self.problem_type = problem_type
        self.column = column
        self.reader = reader
        self.notes = notes
        self.unseen: tuple[str, ...] = ()
        """Names that only validation or test rows have, numbered after `label_names`."""
        self._counts = counts
        self._keeps_unseen = False

    @classmethod
    def learn(cls, train: Rows, columns: Columns, problem_type: ProblemType | None) -> LabelEncoder:
        """Learn task and label names from the training rows.

        Raises:
            ValueError: if the labels do not fit the task, or there is only one.
        """
        column = columns.label_name
        if problem_type is not None:
            check_problem_type(problem_type, train.forms, column)
        if train.forms.indicator_length is not None:
            return cls._learn_indicators(train, columns, problem_type)
        values = _count_labels(train)
        guessed = problem_type is None
        problem_type = problem_type or guess_problem_type(train.forms, values, column)
        if problem_type == "regression":
            notes = warn_of_second_readings(problem_type, train.forms, values, column) if guessed else []
            return cls(problem_type, column, None, np.zeros(0, dtype=np.int64), notes)
        declared = _declared_names(train, column)
        codes = LabelCodes.learn(values) if declared is None else LabelCodes.declared(declared)
        reader = NameReader(codes)
        counts = _count_codes(train, reader)
        _check_several(counts, reader.names, problem_type, column)
        notes = []
        if guessed and declared is None:
            by_name = dict(zip(codes.names, counts.tolist(), strict=True))
            notes += warn_of_second_readings(problem_type, train.forms, by_name, column)
        if declared is None:
            notes += warn_of_spellings(codes.spellings(values), codes.names, column)
        return cls(problem_type, column, reader, counts, notes)

    @classmethod
    def _learn_indicators(cls, train: Rows, columns: Columns, problem_type: ProblemType | None) -> LabelEncoder:
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
        if problem_type is None:
            problem_type = "single_label" if is_one_hot else "multi_label"
        try:
            _check_several(counts, reader.names, problem_type, columns.label_name)
        except ValueError:
            for label in invalid:  # it explains more than what it leaves
                raise ValueError(f"Columns '{columns.label_name}': {reader.explain(label)}.") from None
            raise
        form = "one-hot" if is_one_hot else "multi-hot"
        where = "Columns" if in_columns else "Lists in column"
        numbered = "" if in_columns else "; labels are named by their position, from 0"
        note = (
            f"{where} '{columns.label_name}' hold a 0 or 1 for each of {num_labels} labels ({form}), read as "
            f"{problem_type}{numbered}."
        )
        return cls(problem_type, columns.label_name, reader, counts, [note])

    def keep_unseen(self, rows: Iterable[Rows]) -> None:
        """Number the labels that only validation or test rows have, so that these rows are kept.

        Raises:
            ValueError: if rows may have several labels, of which some have no output.
        """
        self._keeps_unseen = True
        if not isinstance(self.reader, NameReader):
            return
        unseen: set[str] = set()
        for part in rows:
            for batch in part.batches():
                unseen |= self.reader.codes.unknown(distinct(batch.column("label").flatten()))
        if unseen and self.problem_type == "multi_label":
            raise ValueError(
                "unseen_labels=count_as_wrong needs one label per row; validation or test rows have several, and "
                f"training rows lack {', '.join(map(repr, sorted(unseen)[:_NUM_NAMES_SHOWN]))}. Set unseen_labels=skip."
            )
        self.unseen = tuple(sorted(unseen))
        self.reader = NameReader(self.reader.codes.extended(self.unseen))
        self._counts = np.append(self._counts, np.zeros(len(self.unseen), dtype=np.int64))

    @property
    def label_names(self) -> tuple[str, ...]:
        """One name per output of the model."""
        if self.reader is None:
            return (self.column,)
        return self.reader.names[: len(self.reader.names) - len(self.unseen)]

    @property
    def label_type(self) -> pa.DataType:
        """Arrow type of the encoded labels."""
        return _LABEL_TYPES[self.problem_type]

    def describe(self, *, guessed: bool) -> str:
        """Say which task it is."""
        names = self.label_names
        shown = ", ".join(names[:_NUM_NAMES_SHOWN]) + (", ..." if len(names) > _NUM_NAMES_SHOWN else "")
        what = f"scores '{self.column}'" if self.reader is None else f"{len(names)} labels: {shown}"
        return f"Task{' (guessed)' if guessed else ''}: {self.problem_type}, {what}."

    def encode_rows(self, rows: Rows, bad: BadRows, unseen: BadRows) -> tuple[NDArray[np.bool_], Strata]:
        """Return which rows are usable, and each row's stratum.

        The stratum is the label, the quantile of the score or, of several labels, the one that is rarest in train.

        Args:
            rows: the rows of a split.
            bad: gets the rows whose label cannot be read.
            unseen: gets the rows with a label that the training rows do not have.
        """
        usable = np.ones(len(rows), dtype=np.bool_)
        values = np.zeros(len(rows), dtype=np.float64 if self.reader is None else np.int32)
        start = 0
        for batch in rows.batches():
            stop = start + batch.num_rows
            labels = batch.column("label")
            unknown = labels.is_null().to_numpy(zero_copy_only=False).copy()
            present = np.flatnonzero(~unknown)
            read = self._read_scores if self.reader is None else self._read_codes
            values[start:stop][present], unknown[present] = read(labels.drop_null())
            for index in np.flatnonzero(unknown):
                label = labels[int(index)].as_py()
                reason = self._explain_unreadable(label)
                rows.report(unseen if reason is None else bad, batch, int(index), reason or self._explain_unseen(label))
            usable[start:stop] = ~unknown
            start = stop
        if self.reader is None:
            values[~usable] = 0
            if usable.any():
                values[usable] = bin_scores(values[usable].astype(np.float64))
        return usable, values.astype(np.int32, copy=False)

    def encode_labels(self, labels: pa.ListArray) -> pa.Array:
        """Return the labels of usable rows as they are stored."""
        if self.reader is None:
            return pa.array(parse_scores(labels.flatten()))
        found = self.reader.read(labels)
        if self.problem_type == "single_label":
            return pa.array(found.codes)
        offsets = np.concatenate([[0], np.cumsum(found.lengths)])
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(found.codes))

    def count(self, labels: pa.Array) -> Integers:
        """Return how often each label occurs in what `encode_labels` returned."""
        if self.problem_type == "regression":
            return np.zeros(1, dtype=np.int64)
        flat = labels.flatten() if self.problem_type == "multi_label" else labels
        num_labels = len(self.label_names)
        return np.bincount(flat.to_numpy(zero_copy_only=False), minlength=num_labels)[:num_labels]

    def count_unseen(self, labels: pa.Array) -> int:
        """Return how many of the rows that `encode_labels` returned have a label that no training row has."""
        if self.problem_type != "single_label":
            return 0
        return int((self._counts[labels.to_numpy()] == 0).sum())

    def _read_scores(self, labels: pa.ListArray) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        single = list_lengths(labels) == 1
        scores = np.full(len(labels), np.nan)
        scores[single] = parse_scores(labels.filter(pa.array(single)).flatten())
        return scores, ~(np.abs(scores) <= _LARGEST_SCORE)

    def _read_codes(self, labels: pa.ListArray) -> tuple[Integers, NDArray[np.bool_]]:
        """Return each row's rarest label (the number of labels if it has none), and which rows are unusable."""
        assert self.reader is not None
        found = self.reader.read(labels)
        row_of_code = np.repeat(np.arange(len(labels)), found.lengths)
        known = self._are_known(found)
        unusable = found.invalid.copy()
        unusable[row_of_code[~known]] = True
        if self.problem_type == "single_label":
            unusable |= found.lengths != 1
        by_rarity = np.argsort(self._counts, kind="stable")
        rarity = np.empty_like(by_rarity)
        rarity[by_rarity] = np.arange(len(by_rarity))
        rank = np.full(len(labels), len(by_rarity))
        np.minimum.at(rank, row_of_code[known], rarity[found.codes[known]])
        return np.append(by_rarity, len(by_rarity))[rank], unusable

    def _are_known(self, labels: RowLabels) -> NDArray[np.bool_]:
        """Return which labels the training rows have; of one that is only declared, nothing can be learned."""
        known = labels.codes >= 0
        if self._keeps_unseen:
            return known
        known[known] = self._counts[labels.codes[known]] > 0
        return known

    def _explain_unreadable(self, label: list[str] | None) -> str | None:
        """Return why a label cannot be read; None if it can."""
        if label is None:
            return MISSING
        if self.reader is None:
            return f"the label {', '.join(map(repr, label))} is not a finite number (of 32 bits)"
        reason = self.reader.explain(label)
        if reason is not None:
            return reason
        found = self.reader.read(pa.array([label], pa.list_(pa.string())))
        if self.problem_type == "single_label" and found.lengths[0] != 1:
            return f"{found.lengths[0]} labels, expected one (task=multi_label takes any number)"
        return None

    def _explain_unseen(self, label: list[str]) -> str:
        assert self.reader is not None
        found = self.reader.read(pa.array([label], pa.list_(pa.string())))
        unknown = ~self._are_known(found)
        if isinstance(self.reader, NameReader):
            names = [name for name, is_unknown in zip(label, unknown, strict=True) if is_unknown]
        else:
            names = [self.reader.names[code] for code in found.codes[unknown]]
        return f"the label {', '.join(map(repr, names))} does not occur in the training rows (--unseen_labels)"


def _declared_names(train: Rows, column: str) -> Sequence[str] | None:
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


def _count_labels(train: Rows) -> Counter[str]:
    """Return the training rows per label as the file writes it; of scores, of which many differ, not all."""
    scalars = {kind.scalar for kind in train.forms.kinds}
    counts: Counter[str] = Counter()
    for batch in train.batches():
        counts.update(count_values(batch.column("label").flatten()))
        if "float" in scalars and len(counts) > _MOST_SCORES_COUNTED:
            break
    return counts


def _count_codes(train: Rows, reader: LabelReader) -> Integers:
    """Return the training rows per label."""
    counts = np.zeros(len(reader.names), dtype=np.int64)
    for batch in train.batches():
        codes = reader.read(batch.column("label")).codes
        counts += np.bincount(codes[codes >= 0], minlength=len(counts))
    return counts


def _check_several(counts: Integers, names: Sequence[str], problem_type: ProblemType, column: str) -> None:
    """Raise ValueError if the training rows have no two labels to tell apart."""
    met = [name for name, count in zip(names, counts, strict=True) if count]
    if len(met) < 2 and (problem_type == "single_label" or not met):
        raise ValueError(
            f"Column '{column}' has only one label in the training rows, {', '.join(map(repr, met)) or 'none'}; "
            "there is nothing to tell apart."
        )

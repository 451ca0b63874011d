"""The labels of a whole data set: learned from its training rows, then applied to every split."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from research.data.bad_rows import BadRows
from research.data.ingest import Rows
from research.data.labels import LabelCodes, check_problem_type, distinct, guess_problem_type, parse_scores
from research.data.splits import Integers, Strata, bin_scores
from research.task import ProblemType

_LABEL_TYPES = {"single_label": pa.int64(), "multi_label": pa.list_(pa.int64()), "regression": pa.float64()}
_NUM_NAMES_SHOWN = 10


class LabelEncoder:
    """Turns the labels of rows into numbers.

    Args:
        problem_type: the task.
        column: name of the label column.
        codes: label names and their numbers; None for regression.
        counts: training rows per label.
    """

    def __init__(self, problem_type: ProblemType, column: str, codes: LabelCodes | None, counts: Integers) -> None:
        self.problem_type = problem_type
        self.column = column
        self.codes = codes
        self._counts = counts

    @classmethod
    def learn(cls, train: Rows, column: str, problem_type: ProblemType | None) -> LabelEncoder:
        """Learn task and label names from the training rows.

        Raises:
            ValueError: if the labels do not fit the task, or there is only one.
        """
        if problem_type is None:
            problem_type = guess_problem_type(train.kinds, column)
        else:
            check_problem_type(problem_type, train.kinds, column)
        if problem_type == "regression":
            return cls(problem_type, column, None, np.zeros(0, dtype=np.int64))
        values: set[str] = set()
        for batch in train.batches():
            values.update(distinct(batch.column("label").flatten()))
        codes = LabelCodes.learn(values, train.kinds, train.tables[0].label_names(column))
        counts = np.zeros(len(codes.names), dtype=np.int64)
        for batch in train.batches():
            counts += np.bincount(codes.encode(batch.column("label").flatten()), minlength=len(counts))
        met = [name for name, count in zip(codes.names, counts, strict=True) if count]
        if len(met) < 2 and (problem_type == "single_label" or not met):
            raise ValueError(
                f"Column '{column}' has only one label in the training rows, {', '.join(map(repr, met)) or 'none'}; "
                "there is nothing to tell apart."
            )
        return cls(problem_type, column, codes, counts)

    @property
    def label_names(self) -> tuple[str, ...]:
        """One name per output of the model."""
        return self.codes.names if self.codes is not None else (self.column,)

    @property
    def label_type(self) -> pa.DataType:
        """Arrow type of the encoded labels."""
        return _LABEL_TYPES[self.problem_type]

    def describe(self, *, guessed: bool) -> str:
        """Say which task it is."""
        names = self.label_names
        shown = ", ".join(names[:_NUM_NAMES_SHOWN]) + (", ..." if len(names) > _NUM_NAMES_SHOWN else "")
        what = f"scores '{self.column}'" if self.codes is None else f"{len(names)} labels: {shown}"
        return f"Task{' (guessed)' if guessed else ''}: {self.problem_type}, {what}."

    def encode_rows(self, rows: Rows, bad: BadRows) -> tuple[NDArray[np.bool_], Strata]:
        """Return which rows are usable, and each row's stratum; rows with unknown labels go to `bad`.

        The stratum is the label, the quantile of the score or, of several labels, the one that is rarest in train.
        """
        usable = np.ones(len(rows), dtype=np.bool_)
        values = np.zeros(len(rows), dtype=np.float64 if self.codes is None else np.int32)
        start = 0
        for batch in rows.batches():
            stop = start + batch.num_rows
            labels = batch.column("label")
            if self.codes is None:
                values[start:stop], unknown = self._read_scores(labels)
            else:
                values[start:stop], unknown = self._read_codes(labels)
            for index in np.flatnonzero(unknown):
                rows.report(bad, batch, int(index), self._explain(labels[int(index)].as_py()))
            usable[start:stop] = ~unknown
            start = stop
        if self.codes is None and usable.any():
            values[usable] = bin_scores(values[usable].astype(np.float64))
            values[~usable] = 0
        return usable, values.astype(np.int32, copy=False)

    def encode_labels(self, labels: pa.ListArray) -> pa.Array:
        """Return the labels of usable rows as they are stored."""
        if self.codes is None:
            return pa.array(parse_scores(labels.flatten()))
        codes = self.codes.encode(labels.flatten())
        if self.problem_type == "single_label":
            return pa.array(codes)
        return pa.ListArray.from_arrays(pa.array(_offsets(labels), pa.int32()), pa.array(codes))

    def count(self, labels: pa.Array) -> Integers:
        """Return how often each label occurs in what `encode_labels` returned."""
        if self.problem_type == "regression":
            return np.zeros(1, dtype=np.int64)
        flat = labels.flatten() if self.problem_type == "multi_label" else labels
        return np.bincount(flat.to_numpy(zero_copy_only=False), minlength=len(self.label_names))

    def _read_scores(self, labels: pa.ListArray) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        single = np.diff(_offsets(labels)) == 1
        scores = np.full(len(labels), np.nan)
        scores[single] = parse_scores(labels.filter(pa.array(single)).flatten())
        return scores, ~np.isfinite(scores)

    def _read_codes(self, labels: pa.ListArray) -> tuple[Integers, NDArray[np.bool_]]:
        """Return each row's rarest label (the number of labels where it has none), and which rows are unusable."""
        assert self.codes is not None
        codes = self.codes.encode(labels.flatten())
        lengths = np.diff(_offsets(labels))
        row_of_code = np.repeat(np.arange(len(labels)), lengths)
        known = codes >= 0
        # A label that train declares and lacks is unknown as well: nothing can be learned about it.
        known[known] = self._counts[codes[known]] > 0
        unknown = np.zeros(len(labels), dtype=np.bool_)
        unknown[row_of_code[~known]] = True
        if self.problem_type == "single_label":
            unknown |= lengths != 1
        by_rarity = np.argsort(self._counts, kind="stable")
        rarity = np.empty_like(by_rarity)
        rarity[by_rarity] = np.arange(len(by_rarity))
        rank = np.full(len(labels), len(by_rarity))
        np.minimum.at(rank, row_of_code[known], rarity[codes[known]])
        return np.append(by_rarity, len(by_rarity))[rank], unknown

    def _explain(self, label: list[str]) -> str:
        if self.codes is None:
            return f"the label {', '.join(map(repr, label))} is not a finite number"
        if self.problem_type == "single_label" and len(label) != 1:
            return f"{len(label)} labels, expected one"
        codes = self.codes.encode(pa.array(label, pa.string()))
        unknown = [name for name, code in zip(label, codes, strict=True) if code < 0 or not self._counts[code]]
        names = ", ".join(map(repr, unknown))
        return f"the label {names} does not occur in the training rows"


def _offsets(labels: pa.ListArray) -> Integers:
    """Return where each row's values start and end in `labels.flatten()`."""
    lengths = labels.value_lengths().to_numpy(zero_copy_only=False)
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)

"""What turns the labels of a whole data set into those of prepared data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence, Set
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from research.data.prepare.ingest import IngestedRows
from research.data.prepare.label_tally import LabelTally
from research.data.prepare.labels import MISSING
from research.data.prepare.splits import Strata
from research.data.sources.bad_rows import BadRows
from research.tasks.base import Task

NUM_NAMES_SHOWN = 10


class LabelEncoder(ABC):
    """Turns the labels of rows into numbers.

    Args:
        kind: the kind of labels.
        column: name of the label column.
        notes: what to report about how the labels are read.
    """

    label_names: tuple[str, ...]
    """One name per output of the model."""

    def __init__(self, kind: type[Task], column: str, notes: Sequence[str] = ()) -> None:
        self.kind = kind
        self.column = column
        self.notes = notes
        self.unseen: tuple[str, ...] = ()
        """Names that only validation or test rows have, numbered after `label_names`."""

    @property
    def label_type(self) -> pa.DataType:
        """Arrow type of the encoded labels."""
        return self.kind.column_type()

    def describe(self, *, guessed: bool) -> str:
        """Say which task it is."""
        return f"Task{' (guessed)' if guessed else ''}: {self.kind.problem_type}, {self._describe_labels()}."

    @abstractmethod
    def _describe_labels(self) -> str:
        """Return what the labels are."""

    @abstractmethod
    def admit_unseen_labels(self, rows: Iterable[IngestedRows]) -> None:
        """Number the labels that only validation or test rows have, so that these rows are kept.

        Raises:
            ValueError: if rows may have several labels, of which some have no output.
        """

    def encode_rows(self, rows: IngestedRows, bad: BadRows, unseen: BadRows) -> tuple[NDArray[np.bool_], Strata]:
        """Return which rows are usable, and each row's stratum.

        The stratum is the label, the quantile of the score or, of several labels, the one that is rarest in train.

        Args:
            rows: the rows of a split.
            bad: gets the rows whose label cannot be read.
            unseen: gets the rows with a label that the training rows do not have.
        """
        usable = np.ones(len(rows), dtype=np.bool_)
        values: NDArray[Any] = np.zeros(len(rows), dtype=self._value_type)
        start = 0
        for batch in rows.batches():
            stop = start + batch.num_rows
            labels = batch.column("label")
            unusable = labels.is_null().to_numpy(zero_copy_only=False).copy()
            present = np.flatnonzero(~unusable)
            values[start:stop][present], unusable[present] = self._read(labels.drop_null())
            for index in np.flatnonzero(unusable):
                label = labels[int(index)].as_py()
                reason = MISSING if label is None else self._explain_unreadable(label)
                rows.report(unseen if reason is None else bad, batch, int(index), reason or self._explain_unseen(label))
            usable[start:stop] = ~unusable
            start = stop
        return usable, self._strata(values, usable)

    _value_type: type[np.float64] | type[np.int32]
    """Of what `_read` makes of a row."""

    @abstractmethod
    def _read(self, labels: pa.ListArray) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return what the stratum of each row is made of, and which rows are unusable, each [num_rows]."""

    @abstractmethod
    def _strata(self, values: NDArray[Any], usable: NDArray[np.bool_]) -> Strata:
        """Return each row's stratum.

        Args:
            values: what `_read` returned for all rows, [num_rows].
            usable: which rows are, [num_rows].
        """

    @abstractmethod
    def _explain_unreadable(self, label: list[str]) -> str | None:
        """Return why a label cannot be read; None if it can."""

    @abstractmethod
    def _explain_unseen(self, label: list[str]) -> str:
        """Return that the training rows lack a label, which can be read."""

    @abstractmethod
    def encode_labels(self, labels: pa.ListArray) -> pa.Array:
        """Return the labels of usable rows as they are stored."""

    @abstractmethod
    def tally(self) -> LabelTally:
        """Return what counts the encoded labels."""

    @abstractmethod
    def may_be_labels(self, marks: Set[str], train: IngestedRows) -> bool:
        """Return whether a mark of a missing label is one of the training labels, or lies among their scores."""

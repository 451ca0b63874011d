"""Base class of label encoders. A label encoder encodes the labels of all rows of a data set."""

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

MAX_NAMES_SHOWN = 10
"""Maximum number of label names in a message."""


class LabelEncoder(ABC):
    """Checks the labels of rows, and encodes them as numbers.

    Args:
        task_class: the task.
        column: name of the label column.
        notes: messages about how the labels are read, to be logged.
    """

    label_names: tuple[str, ...]
    """One name per output of the model."""

    def __init__(self, task_class: type[Task], column: str, notes: Sequence[str] = ()) -> None:
        self.task_class = task_class
        self.column = column
        self.notes = notes
        self.unseen_names: tuple[str, ...] = ()
        """Label names that occur only in validation or test rows. Their codes follow those of `label_names`."""
        self._source_of_labels = "training rows (see --unseen_labels)"
        """The rows in which labels must occur, for messages."""

    @property
    @abstractmethod
    def form(self) -> str:
        """How labels are written in the files: one of the forms in `label_lists`."""

    @property
    def label_type(self) -> pa.DataType:
        """Arrow type of the encoded labels."""
        return self.task_class.column_type()

    def describe(self, *, guessed: bool) -> str:
        """Return a message about the task and its labels.

        Args:
            guessed: whether the task was guessed.
        """
        return f"Task{' (guessed)' if guessed else ''}: {self.task_class.name}, {self._describe_labels()}."

    @abstractmethod
    def _describe_labels(self) -> str:
        """Return a short description of the labels."""

    @abstractmethod
    def admit_unseen_labels(self, rows: Iterable[IngestedRows]) -> None:
        """Assign label codes to labels that occur only in validation or test rows, so that these rows are kept.

        Args:
            rows: rows of each validation or test split with labels.
        Raises:
            ValueError: if rows may have several labels, and some of them do not occur in the training rows.
        """

    def check_and_stratify(self, rows: IngestedRows, bad: BadRows, unseen: BadRows) -> tuple[NDArray[np.bool_], Strata]:
        """Report rows with unusable labels. Return which rows are usable, and the stratum of each row, both [num_rows].

        The stratum is the label; in regression, the quantile of the score; if a row may have several labels, its label
        that is rarest in the training rows.

        Args:
            rows: rows of a split.
            bad: collects the rows whose label cannot be read.
            unseen: collects the rows with unseen labels.
        """
        usable = np.ones(len(rows), dtype=np.bool_)
        values: NDArray[Any] = np.zeros(len(rows), dtype=self._value_type)
        start = 0
        for batch in rows.batches():
            stop = start + batch.num_rows
            labels = batch.column("label")
            values[start:stop], unusable = self._read_present_values(labels)
            for index in np.flatnonzero(unusable):
                reason, is_unseen = self._explain_unusable(labels[int(index)].as_py())
                rows.report(unseen if is_unseen else bad, batch, int(index), reason)
            usable[start:stop] = ~unusable
            start = stop
        return usable, self._assign_strata(values, usable)

    def find_unusable(self, labels: pa.ListArray) -> dict[int, str]:
        """Return the index of each row whose label is unusable, with the reason."""
        _, unusable = self._read_present_values(labels)
        return {int(index): self._explain_unusable(labels[int(index)].as_py())[0] for index in np.flatnonzero(unusable)}

    def _read_present_values(self, labels: pa.ListArray) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return values as `_read_values` does. Rows without a label are unusable, and have the value 0."""
        values: NDArray[Any] = np.zeros(len(labels), dtype=self._value_type)
        unusable = labels.is_null().to_numpy(zero_copy_only=False).copy()
        present = np.flatnonzero(~unusable)
        values[present], unusable[present] = self._read_values(labels.drop_null())
        return values, unusable

    def _explain_unusable(self, label: list[str] | None) -> tuple[str, bool]:
        """Return why a label is unusable, and whether the reason is that it occurs only in validation or test rows."""
        reason = MISSING if label is None else self._explain_unreadable(label)
        if reason is not None:
            return reason, False
        assert label is not None
        return self._explain_unseen(label), True

    def accept_declared_labels(self, source: str) -> None:
        """Accept every label that has a label code, even if none of the rows from which labels were learned has it.

        Args:
            source: the rows from which labels were learned, for messages.
        """
        self._source_of_labels = source

    _value_type: type[np.float64] | type[np.int32]
    """Type of the values that `_read_values` returns."""

    @abstractmethod
    def _read_values(self, labels: pa.ListArray) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return the value that determines the stratum of each row, and which rows are unusable, each [num_rows]."""

    @abstractmethod
    def _assign_strata(self, values: NDArray[Any], usable: NDArray[np.bool_]) -> Strata:
        """Return the stratum of each row, [num_rows].

        Args:
            values: values that `_read_values` returned for all rows, [num_rows].
            usable: whether each row is usable, [num_rows].
        """

    @abstractmethod
    def _explain_unreadable(self, label: list[str]) -> str | None:
        """Return the reason why a label cannot be read; None if it can be read."""

    @abstractmethod
    def _explain_unseen(self, label: list[str]) -> str:
        """Return a message saying that a readable label is unusable because it is none of the learned labels."""

    @abstractmethod
    def encode_labels(self, labels: pa.ListArray) -> pa.Array:
        """Return the encoded labels of usable rows, in the form in which prepared data stores them."""

    @abstractmethod
    def create_tally(self) -> LabelTally:
        """Return a new tally for labels that this encoder has encoded."""

    @abstractmethod
    def may_be_real_labels(self, marks: Set[str], learning_rows: IngestedRows) -> bool:
        """Return whether at least one mark for missing labels may be a real label of this data set.

        This is the case if the mark is also a label in the rows from which labels were learned, or, in regression, a
        number in the range of these rows' scores.

        Args:
            marks: marks for missing labels in a split, such as NA or -1.
            learning_rows: the rows from which labels were learned.
        """

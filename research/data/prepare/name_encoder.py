"""Encode labels that are names, for rows with one label and for rows with any number of labels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence, Set
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from research.data.prepare.ingest import IngestedRows
from research.data.prepare.label_encoder import MAX_NAMES_SHOWN, LabelEncoder
from research.data.prepare.label_lists import LabelReader, NameReader, RowLabels
from research.data.prepare.label_tally import LabelCodeTally
from research.data.prepare.labels import find_distinct_values
from research.data.prepare.splits import Integers, Strata
from research.tasks.base import Task


class NameEncoder(LabelEncoder):
    """Encodes label names as label codes.

    Args:
        task_class: the task.
        column: name of the label column.
        reader: reads the label codes of rows.
        counts: number of training rows per label, [num_labels].
        notes: messages about how the labels are read, to be logged.
    """

    _value_type = np.int32

    def __init__(
        self, task_class: type[Task], column: str, reader: LabelReader, counts: Integers, notes: Sequence[str] = ()
    ) -> None:
        super().__init__(task_class, column, notes)
        self.label_names = reader.names
        self._reader = reader
        self._counts = counts
        self._keeps_unseen = False

    @property
    def form(self) -> str:
        return self._reader.form

    def _describe_labels(self) -> str:
        names = self.label_names
        shown = ", ".join(names[:MAX_NAMES_SHOWN]) + (", ..." if len(names) > MAX_NAMES_SHOWN else "")
        return f"{len(names)} labels: {shown}"

    def admit_unseen_labels(self, rows: Iterable[IngestedRows]) -> None:
        self._keeps_unseen = True
        if not isinstance(self._reader, NameReader):
            return  # with a 0 or 1 for each label, all labels have codes already
        unseen: set[str] = set()
        for split_rows in rows:
            for batch in split_rows.batches():
                unseen |= self._reader.codes.find_unknown(find_distinct_values(batch.column("label").flatten()))
        self._check_unseen(sorted(unseen))
        self.unseen_names = tuple(sorted(unseen))
        self._reader = NameReader(self._reader.codes.with_names(self.unseen_names))
        self._counts = np.append(self._counts, np.zeros(len(self.unseen_names), dtype=np.int64))

    def accept_declared_labels(self, source: str) -> None:
        super().accept_declared_labels(source)
        self._counts = np.maximum(self._counts, 1)

    @abstractmethod
    def _check_unseen(self, names: Sequence[str]) -> None:
        """Check that rows with unseen labels can count as wrong.

        Args:
            names: label names that occur only in validation or test rows.
        Raises:
            ValueError: if these rows cannot count as wrong.
        """

    def _read_values(self, labels: pa.ListArray) -> tuple[Integers, NDArray[np.bool_]]:
        """Return the code of each row's rarest label, and which rows are unusable, each [num_rows].

        A row without labels gets the first unused code.
        """
        row_labels = self._reader.read(labels)
        row_of_code = np.repeat(np.arange(len(labels)), row_labels.lengths)
        known = self._are_known(row_labels)
        unusable = row_labels.invalid | self._have_wrong_num_labels(row_labels)
        unusable[row_of_code[~known]] = True
        # Labels are ranked from the rarest up, so that the minimum over the labels of a row is its rarest label.
        by_rarity = np.argsort(self._counts, kind="stable")
        rank_of_label = np.empty_like(by_rarity)
        rank_of_label[by_rarity] = np.arange(len(by_rarity))
        lowest_rank = np.full(len(labels), len(by_rarity))
        np.minimum.at(lowest_rank, row_of_code[known], rank_of_label[row_labels.codes[known]])
        return np.append(by_rarity, len(by_rarity))[lowest_rank], unusable

    @abstractmethod
    def _have_wrong_num_labels(self, labels: RowLabels) -> NDArray[np.bool_]:
        """Return whether each row has too few or too many labels, [num_rows]."""

    def _assign_strata(self, values: NDArray[Any], usable: NDArray[np.bool_]) -> Strata:
        return values

    def _are_known(self, labels: RowLabels) -> NDArray[np.bool_]:
        """Return which labels are known, one value for each code in `labels`.

        A label is known if it occurs in the training rows. After `admit_unseen_labels`, any label with a code is known.
        """
        known = labels.codes >= 0
        if self._keeps_unseen:
            return known
        known[known] = self._counts[labels.codes[known]] > 0
        return known

    def _read_one(self, label: list[str]) -> RowLabels:
        """Return the label codes of a single row."""
        return self._reader.read(pa.array([label], pa.list_(pa.string())))

    def _explain_unreadable(self, label: list[str]) -> str | None:
        return self._reader.explain_unreadable(label)

    def _explain_unseen(self, label: list[str]) -> str:
        row_labels = self._read_one(label)
        unknown = ~self._are_known(row_labels)
        if isinstance(self._reader, NameReader):
            names = [name for name, is_unknown in zip(label, unknown, strict=True) if is_unknown]
        else:
            names = [self._reader.names[code] for code in row_labels.codes[unknown]]
        return f"the label {', '.join(map(repr, names))} does not occur in the {self._source_of_labels}"

    def create_tally(self) -> LabelCodeTally:
        return LabelCodeTally(len(self.label_names), self._codes_of, self._count_unseen)

    @abstractmethod
    def _codes_of(self, labels: pa.Array) -> Integers:
        """Return all label codes in an array that `encode_labels` returned."""

    def _count_unseen(self, labels: pa.Array) -> int:
        """Return the number of rows with an unseen label; 0 if no such row is kept.

        Args:
            labels: array that `encode_labels` returned.
        """
        return 0

    def may_be_real_labels(self, marks: Set[str], learning_rows: IngestedRows) -> bool:
        if not isinstance(self._reader, NameReader):
            return False
        return bool((self._reader.codes.encode(pa.array(sorted(marks))) >= 0).any())


class SingleLabelEncoder(NameEncoder):
    """Encodes one label name per row as a label code."""

    def _check_unseen(self, names: Sequence[str]) -> None:
        """Accept all names, because a row whose only label is unseen can count as wrong."""

    def _have_wrong_num_labels(self, labels: RowLabels) -> NDArray[np.bool_]:
        return labels.lengths != 1

    def _explain_unreadable(self, label: list[str]) -> str | None:
        reason = super()._explain_unreadable(label)
        if reason is not None:
            return reason
        num_labels = self._read_one(label).lengths[0]
        if num_labels == 1:
            return None
        return f"{num_labels} labels; the task single_label expects one, the task multi_label any number"

    def encode_labels(self, labels: pa.ListArray) -> pa.Array:
        return pa.array(self._reader.read(labels).codes)

    def _codes_of(self, labels: pa.Array) -> Integers:
        codes: Integers = labels.to_numpy(zero_copy_only=False)
        return codes

    def _count_unseen(self, labels: pa.Array) -> int:
        return int((self._counts[labels.to_numpy()] == 0).sum())


class MultiLabelEncoder(NameEncoder):
    """Encodes any number of label names per row as a list of label codes."""

    def _check_unseen(self, names: Sequence[str]) -> None:
        if names:
            raise ValueError(
                "--unseen_labels count_as_wrong requires one label per row, but rows of this data set may have "
                "several. Labels that do not occur in the training rows: "
                f"{', '.join(map(repr, names[:MAX_NAMES_SHOWN]))}. Set --unseen_labels skip."
            )

    def _have_wrong_num_labels(self, labels: RowLabels) -> NDArray[np.bool_]:
        return np.zeros(len(labels.lengths), dtype=np.bool_)

    def encode_labels(self, labels: pa.ListArray) -> pa.Array:
        row_labels = self._reader.read(labels)
        offsets = np.concatenate([[0], np.cumsum(row_labels.lengths)])
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(row_labels.codes))

    def _codes_of(self, labels: pa.Array) -> Integers:
        codes: Integers = labels.flatten().to_numpy(zero_copy_only=False)
        return codes

"""Read lists of labels. A list holds either the labels that apply, or a 0 or 1 for each label."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from research.data.prepare.labels import LabelCodes
from research.data.prepare.splits import Integers
from research.tasks.label_forms import ZEROS_AND_ONES

NAMES, DECLARED_NAMES, INDICATORS, NUMBERS = "names", "declared names", "indicators", "numbers"
"""Forms of labels: names in the rows, names that the files declare, a 0 or 1 for each label, and numbers."""
_LISTED_TWICE = (
    "a label is listed twice (lists hold the labels that apply; they are read as a 0 or 1 for each label only if "
    "nearly all lists in the column consist of zeros and ones)"
)


@dataclass(frozen=True)
class RowLabels:
    """The label codes of several rows."""

    codes: Integers
    """Label codes of all rows, one row after another; -1 for an unknown label."""
    lengths: Integers
    """Number of labels per row, [num_rows]."""
    invalid: NDArray[np.bool_]
    """True for each row that cannot be read, [num_rows]."""


class LabelReader(ABC):
    """Reads the list of labels of each row."""

    names: tuple[str, ...]
    """Label names in the order of their codes."""
    form: str
    """How labels are written in the files."""

    @abstractmethod
    def read(self, labels: pa.ListArray) -> RowLabels:
        """Return the label codes of several rows."""

    @abstractmethod
    def explain_unreadable(self, label: list[str]) -> str | None:
        """Return the reason why a row's list of labels cannot be read; None if it can be read."""


class NameReader(LabelReader):
    """Reader of lists that hold the labels that apply.

    Args:
        codes: label names and their codes.
    """

    def __init__(self, codes: LabelCodes) -> None:
        self.codes = codes
        self.names = codes.names
        self.form = DECLARED_NAMES if codes.num_declared else NAMES

    def read(self, labels: pa.ListArray) -> RowLabels:
        codes = self.codes.encode(labels.flatten())
        lengths = count_values_per_list(labels)
        rows = np.repeat(np.arange(len(labels)), lengths)
        order = np.lexsort((codes, rows))  # by row, then by code, so that repeated codes of a row are neighbours
        is_repeated = (np.diff(rows[order]) == 0) & (np.diff(codes[order]) == 0) & (codes[order][1:] >= 0)
        invalid = np.zeros(len(labels), dtype=np.bool_)
        invalid[rows[order][1:][is_repeated]] = True
        return RowLabels(codes, lengths, invalid)

    def explain_unreadable(self, label: list[str]) -> str | None:
        ids = [value for value in label if self.codes.is_undeclared_integer(value)]
        plural = "s" if len(ids) > 1 else ""
        if ids and all(0 <= int(value) < self.codes.num_declared for value in ids):
            return (
                f"expected a label name because the training files declare names ({', '.join(self.names[:5])}"
                f"{', ...' if len(self.names) > 5 else ''}), found the id{plural} {', '.join(ids)}"
            )
        if ids:
            return (
                f"no name for the label id{plural} {', '.join(ids)}; the file declares {self.codes.num_declared} "
                f"names, for the ids 0 to {self.codes.num_declared - 1}"
            )
        codes = self.codes.encode(pa.array(label, pa.string()))
        known = codes[codes >= 0]
        return _LISTED_TWICE if len(set(known.tolist())) < len(known) else None


class IndicatorReader(LabelReader):
    """Reader of lists that hold a 0 or 1 for each label.

    Args:
        names: label name for each position of the list.
    """

    form = INDICATORS
    _VALID_VALUES = pa.array(sorted(ZEROS_AND_ONES), pa.string())
    _ONES = pa.array(sorted(text for text, applies in ZEROS_AND_ONES.items() if applies), pa.string())

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)

    def read(self, labels: pa.ListArray) -> RowLabels:
        lengths = count_values_per_list(labels)
        rows = np.repeat(np.arange(len(labels)), lengths)
        starts = np.cumsum(lengths) - lengths
        positions = np.arange(len(rows)) - np.repeat(starts, lengths)
        values = pc.utf8_lower(pc.utf8_trim_whitespace(labels.flatten()))
        invalid = lengths != len(self.names)
        invalid[rows[~_is_in(values, self._VALID_VALUES)]] = True
        applies = _is_in(values, self._ONES) & ~invalid[rows]
        return RowLabels(positions[applies], np.bincount(rows[applies], minlength=len(labels)), invalid)

    def explain_unreadable(self, label: list[str]) -> str | None:
        if len(label) != len(self.names):
            return f"expected {len(self.names)} zeros and ones, found {len(label)} values"
        wrong = [repr(value) for value in label if value.strip().lower() not in ZEROS_AND_ONES]
        return f"{', '.join(wrong)} among the labels, expected zeros and ones" if wrong else None


def count_values_per_list(labels: pa.ListArray) -> Integers:
    """Return the number of values in each list, [num_rows]."""
    lengths: Integers = labels.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)
    return lengths


def _is_in(values: pa.StringArray, allowed: pa.StringArray) -> NDArray[np.bool_]:
    """Return for each value whether it is one of the allowed values."""
    is_allowed: NDArray[np.bool_] = pc.is_in(values, value_set=allowed).to_numpy(zero_copy_only=False)
    return is_allowed

"""Encode labels that are numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from research.data.prepare.ingest import IngestedRows
from research.data.prepare.label_encoder import LabelEncoder
from research.data.prepare.label_lists import NUMBERS, count_values_per_list
from research.data.prepare.label_tally import ScoreTally
from research.data.prepare.labels import parse_scores
from research.data.prepare.splits import Strata, bin_scores
from research.tasks.base import Task

MINUS_ONE = "-1"
"""Number that published test sets use instead of secret labels."""
_LARGEST_SCORE = float(np.finfo(np.float32).max)
"""Maximum absolute score; larger scores cannot be predicted as 32-bit floats."""


class ScoreEncoder(LabelEncoder):
    """Encodes one number per row."""

    _value_type = np.float64

    def __init__(self, task_class: type[Task], column: str, notes: Sequence[str] = ()) -> None:
        super().__init__(task_class, column, notes)
        self.label_names = (column,)

    @property
    def form(self) -> str:
        return NUMBERS

    def _describe_labels(self) -> str:
        return f"scores '{self.column}'"

    def admit_unseen_labels(self, rows: Iterable[IngestedRows]) -> None:
        """Do nothing: any score can be predicted."""

    def _read_values(self, labels: pa.ListArray) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        single = count_values_per_list(labels) == 1
        scores = np.full(len(labels), np.nan)
        scores[single] = parse_scores(labels.filter(pa.array(single)).flatten())
        return scores, ~(np.abs(scores) <= _LARGEST_SCORE)  # also true for NaN

    def _assign_strata(self, values: NDArray[Any], usable: NDArray[np.bool_]) -> Strata:
        strata = np.zeros(len(values), dtype=np.int32)
        if usable.any():
            strata[usable] = bin_scores(values[usable])
        return strata

    def _explain_unreadable(self, label: list[str]) -> str:
        return f"the label {', '.join(map(repr, label))} is not a number, or is too large for a 32-bit float"

    def _explain_unseen(self, label: list[str]) -> str:
        raise AssertionError("all scores that can be read are usable")

    def encode_labels(self, labels: pa.ListArray) -> pa.Array:
        return pa.array(parse_scores(labels.flatten()))

    def create_tally(self) -> ScoreTally:
        return ScoreTally()

    def may_be_real_labels(self, marks: Set[str], learning_rows: IngestedRows) -> bool:
        if not any(mark.startswith(MINUS_ONE) for mark in marks):  # -1 or -1.0
            return False
        scores = np.concatenate([parse_scores(batch.column("label").flatten()) for batch in learning_rows.batches()])
        return bool(np.nanmin(scores) <= float(MINUS_ONE) <= np.nanmax(scores))

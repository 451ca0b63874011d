"""The texts that the trials of a study read, and how long they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from datasets import Dataset

from research.data.batches.tokens import tokenize_splits
from research.data.prepare.load import Splits, load_splits
from research.model.encoders import load_tokenizer
from research.settings.plugins import import_plugins
from research.studies.grid import Trial
from research.studies.report.rows import Array, StudyRows
from research.system.messages import muted


@dataclass(frozen=True)
class StudyTexts:
    """Rows with their texts and lengths."""

    rows: Splits
    """With texts."""
    tokens: Splits
    """The same rows; their column `length` counts tokens, special ones included, before any truncation."""
    encoder: str
    """Whose tokens are counted."""

    def lengths(self, of: StudyRows) -> Array:
        """Return the number of tokens of each row, [num_rows].

        Raises:
            ValueError: if these are other rows.
        """
        return np.asarray(getattr(self.tokens, of.split).data.column("length"))[self._positions(of)]

    def texts(self, of: StudyRows, numbers: Sequence[int]) -> list[tuple[str, ...]]:
        """Return the text, or both of a pair, of some of the rows.

        Args:
            of: the rows.
            numbers: which of them.
        Raises:
            ValueError: if these are other rows.
        """
        data: Dataset = getattr(self.rows, of.split)
        columns = [name for name in ("text", "text_pair") if name in data.column_names]
        positions = self._positions(of)
        return [tuple(data[int(positions[number])][name] for name in columns) for number in numbers]

    def place(self, of: StudyRows, number: int) -> str:
        """Return the file of one of the rows, and its row there, in words."""
        return self.rows.place_of(of.split, int(of.predictions.ids[number]))

    def _positions(self, of: StudyRows) -> Array:
        """Return where in the data each row is, [num_rows]."""
        data: Dataset = getattr(self.rows, of.split)
        order = np.argsort(data.data.column("id").to_numpy())
        ids, labels = data.data.column("id").to_numpy()[order], _labels(data, of)[order]
        known = of.predictions
        if not (np.array_equal(ids, known.ids) and np.allclose(labels, known.labels)):
            raise ValueError("the data hold other rows now than those that the trials predicted")
        return order


def read_texts(trial: Trial) -> StudyTexts:
    """Return the rows that a trial read.

    Args:
        trial: whose data, and whose encoder's tokens.
    Raises:
        ValueError: if data or tokenizer are not here.
        OSError: if they cannot be read.
    """
    config = trial.config()
    import_plugins(config.plugin)
    with muted():  # the trials reported what came of these rows
        rows = load_splits(config)
        tokens = tokenize_splits(rows, load_tokenizer(config.encoder), allow_unknown=True)
    return StudyTexts(rows, tokens, config.encoder)


def _labels(data: Dataset, of: StudyRows) -> Array:
    """Return labels as predictions have them."""
    return of.task.label_array(data.data.column("label").to_pylist())

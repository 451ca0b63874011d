"""Texts of the rows that a study's trials read, and their lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from datasets import Dataset

from research.data.batches.tokens import tokenize_splits
from research.data.prepare.load import Splits, load_splits
from research.model.encoders import load_tokenizer
from research.settings.plugins import import_plugins
from research.settings.template import parse_template
from research.studies.grid import Trial
from research.studies.report.rows import Array, StudyRows
from research.system.messages import messages_muted


@dataclass(frozen=True)
class StudyTexts:
    """Rows with their texts and token counts."""

    rows: Splits
    """Rows with texts."""
    tokens: Splits
    """The same rows, tokenized. The column `length` is the number of tokens before truncation, including special
    tokens."""
    encoder: str
    """Name of the encoder whose tokenizer is used for counting."""

    def lengths(self, study_rows: StudyRows) -> Array:
        """Return the number of tokens of each row, [num_rows].

        Raises:
            ValueError: if the data have changed since the trials predicted the rows.
        """
        return np.asarray(getattr(self.tokens, study_rows.split).data.column("length"))[self._positions(study_rows)]

    def texts(self, study_rows: StudyRows, indices: Sequence[int]) -> list[tuple[str, ...]]:
        """Return the text, or both texts of a pair, of some of the rows.

        Args:
            study_rows: the rows.
            indices: indices of the selected rows.
        Raises:
            ValueError: if the data have changed since the trials predicted the rows.
        """
        data: Dataset = getattr(self.rows, study_rows.split)
        columns = [name for name in ("text", "text_pair") if name in data.column_names]
        positions = self._positions(study_rows)
        return [tuple(data[int(positions[index])][name] for name in columns) for index in indices]

    def place(self, study_rows: StudyRows, index: int) -> str:
        """Return the place of the row with this index: its file, and its number in that file."""
        return self.rows.place_of(study_rows.split, int(study_rows.predictions.ids[index]))

    def _positions(self, study_rows: StudyRows) -> Array:
        """Return the position of each row in the data, [num_rows]."""
        data: Dataset = getattr(self.rows, study_rows.split)
        order = np.argsort(data.data.column("id").to_numpy())
        ids, labels = data.data.column("id").to_numpy()[order], _labels(data, study_rows)[order]
        predictions = study_rows.predictions
        if not (np.array_equal(ids, predictions.ids) and np.allclose(labels, predictions.labels)):
            raise ValueError("the data have changed since the trials predicted the rows")
        return order


def read_texts(trial: Trial) -> StudyTexts:
    """Read the rows of a trial, and tokenize them with the tokenizer of its encoder.

    Args:
        trial: the trial.
    Raises:
        ValueError: if the data or the tokenizer are not available.
        OSError: if the files of the data or the tokenizer cannot be read.
    """
    config = trial.config()
    import_plugins(config.plugin)
    with messages_muted():  # the trials have already reported messages about these data
        rows = load_splits(config)
        template = parse_template(config.template)
        tokenizer = load_tokenizer(config.encoder, config.pad_token)
        tokens = tokenize_splits(rows, tokenizer, template=template, allow_unknown=True)
    return StudyTexts(rows, tokens, config.encoder)


def _labels(data: Dataset, study_rows: StudyRows) -> Array:
    """Return the labels in the form used in predictions."""
    return study_rows.task.label_array(data.data.column("label").to_pylist())

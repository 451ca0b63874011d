"""Labelled texts on which a quantised model is compared with the original."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from research.data.prepare.load import load_splits
from research.inference.saved_model import SavedModel
from research.settings.config import RunConfig
from research.settings.forks import read_settings
from research.settings.run_files import CONFIG
from research.tasks.base import Array


@dataclass(frozen=True)
class LabelledTexts:
    """Rows with labels."""

    rows: Sequence[Sequence[str]]
    """One cleaned text per row or, for a model of pairs, two."""
    labels: Array
    """Labels as returned by `Task.label_array`."""


def read_test_texts(saved: SavedModel) -> LabelledTexts:
    """Return the test rows of the run that trained a model.

    Raises:
        ValueError: if the model is not in a run directory, or its test rows cannot be read or have no labels.
    """
    if saved.run is None:
        raise ValueError(f"{saved.folder} is not in a run directory, so there are no test rows for --int8.")
    splits = load_splits(RunConfig(**read_settings(saved.run / CONFIG, "the run")))
    if "test" in splits.unlabelled:
        raise ValueError(f"The test rows of {saved.run} have no labels, so --int8 cannot measure the accuracy.")
    columns = [splits.test[name] for name in ("text", "text_pair")[: len(saved.inputs.text_columns)]]
    return LabelledTexts(list(zip(*columns, strict=True)), saved.task.label_array(splits.test["label"]))

"""Guess the task if the settings do not specify it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from numpy.typing import NDArray

from research.tasks.base import Task
from research.tasks.label_forms import LabelForms
from research.tasks.multi_label import MultiLabel
from research.tasks.numbers import MAX_WHOLE_NUMBER_CLASSES, NUMBER
from research.tasks.regression import Regression
from research.tasks.single_label import SingleLabel


def guess_task(forms: LabelForms, values: Iterable[str], column: str) -> type[Task]:
    """Guess the task from how the labels are written.

    Args:
        forms: how the labels are written.
        values: the distinct labels.
        column: name of the label column.
    Raises:
        ValueError: if the labels are inconsistent.
    """
    if forms.is_mixed:
        raise ValueError(
            f"Column '{column}' holds lists in some rows and single labels in others; use the same form in all rows."
        )
    if forms.has_lists:
        if forms.has_fractions:
            raise ValueError(
                f"Column '{column}' holds lists of numbers with a fraction; expected lists of label names, or of zeros "
                "and ones. Turn probabilities into labels, or set --task multi_label to use the numbers as names."
            )
        return MultiLabel
    if "float" not in forms.type_names:
        return SingleLabel
    if not forms.type_names <= {"int", "float"}:
        example = next((repr(value) for value in values if not NUMBER.fullmatch(value.strip())), "true or false")
        raise ValueError(
            f"Column '{column}' holds decimal numbers in some rows and text in others ({example}). Set the task: "
            "--task regression treats the rows with text as bad rows, --task single_label uses all values as names."
        )
    return Regression if forms.has_fractions or len(list(values)) > MAX_WHOLE_NUMBER_CLASSES else SingleLabel


def guess_from_indicators(*, is_one_hot: bool) -> type[Task]:
    """Return the task of labels that are written as a 0 or 1 for each label name.

    Args:
        is_one_hot: whether every row contains exactly one 1.
    """
    return SingleLabel if is_one_hot else MultiLabel


def recognise_task(labels: NDArray[Any]) -> type[Task]:
    """Return the task of the labels in a file of predictions, [num_rows] or [num_rows, num_labels]."""
    if labels.ndim == 2:
        return MultiLabel
    return Regression if labels.dtype.kind == "f" else SingleLabel

"""Guessing the task from the form of the labels."""

from __future__ import annotations

import numpy as np
import pytest

from research.tasks.base import Task
from research.tasks.guess import guess_from_indicators, guess_task, recognise_task
from research.tasks.label_forms import LabelForms
from research.tasks.multi_label import MultiLabel
from research.tasks.regression import Regression
from research.tasks.single_label import SingleLabel
from tests.messages import in_order

Row = list[tuple[str, str]]
"""Label values of a row, with the names of their types."""


def forms_of(*rows: Row, are_lists: bool = False) -> LabelForms:
    """Return the forms of the labels of some rows, which may be lists."""
    forms = LabelForms()
    for row in rows:
        forms.add(row, is_list=are_lists)
    return forms


@pytest.mark.parametrize(
    ("rows", "task"),
    [
        ([[("a", "str")], [("b", "str")]], SingleLabel),
        ([[(str(number), "int")] for number in range(100)], SingleLabel),
        ([[("True", "bool")], [("False", "bool")]], SingleLabel),
        ([[("0.5", "float")], [("1", "int")]], Regression),
        # Up to 20 distinct floats without a fraction are classes.
        ([[(f"{number}.0", "float")] for number in range(20)], SingleLabel),
        ([[(f"{number}.0", "float")] for number in range(21)], Regression),
    ],
)
def test_guess_task_distinguishes_classes_from_scores(rows: list[Row], task: type[Task]) -> None:
    assert guess_task(forms_of(*rows), [row[0][0] for row in rows], "label") is task


def test_guess_task_of_lists_is_multi_label() -> None:
    forms = forms_of([("a", "str"), ("b", "str")], [], are_lists=True)
    assert guess_task(forms, ["a", "b"], "label") is MultiLabel


def test_guess_task_rejects_inconsistent_forms() -> None:
    mixed = forms_of([("a", "str")])
    mixed.add([("b", "str")], is_list=True)
    with pytest.raises(ValueError, match=in_order("'stars'", "lists", "single")):
        guess_task(mixed, ["a", "b"], "stars")
    probabilities = forms_of([("0.2", "float"), ("0.8", "float")], are_lists=True)
    with pytest.raises(ValueError, match=in_order("'stars'", "fraction", "--task multi_label")):
        guess_task(probabilities, ["0.2", "0.8"], "stars")


@pytest.mark.parametrize(
    ("non_number", "description"), [(("good", "str"), "'good'"), (("True", "bool"), "true or false")]
)
def test_guess_task_rejects_non_numbers_among_scores_and_suggests_two_tasks(
    non_number: tuple[str, str], description: str
) -> None:
    # If all `values` are numbers, the message describes the booleans in words.
    values = ["0.5", *([non_number[0]] if non_number[1] == "str" else [])]
    with pytest.raises(ValueError, match=in_order("'stars'", description, "--task regression", "--task single_label")):
        guess_task(forms_of([("0.5", "float")], [non_number]), values, "stars")


def test_guess_from_indicators_is_single_label_if_one_hot() -> None:
    assert guess_from_indicators(is_one_hot=True) is SingleLabel
    assert guess_from_indicators(is_one_hot=False) is MultiLabel


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        (np.zeros((3, 2), dtype=np.float32), MultiLabel),
        (np.zeros(3, dtype=np.float32), Regression),
        (np.zeros(3, dtype=np.int64), SingleLabel),
    ],
)
def test_recognise_task_uses_the_shape_and_type_of_labels(labels: np.ndarray, task: type[Task]) -> None:
    assert recognise_task(labels) is task

"""What labels look like over all rows of a column."""

from __future__ import annotations

import pytest

from research.tasks.label_forms import Form, LabelForms


def forms_of_lists(*lists: str) -> LabelForms:
    """Return the forms of lists of whole numbers; each is written as its digits."""
    forms = LabelForms()
    for digits in lists:
        forms.add([(digit, "int") for digit in digits], is_list=True)
    return forms


def test_forms_of_all_rows_are_kept() -> None:
    forms = LabelForms()
    forms.add([("1", "int")], is_list=False)
    forms.add([("2.0", "float")], is_list=False)
    assert (forms.scalars, forms.in_lists, forms.is_mixed) == ({"int", "float"}, False, False)
    assert (forms.has_fractions, forms.has_single_values, forms.share_of_indicators) == (False, True, 0)
    forms.add([], is_list=True)
    assert forms.forms == {Form("int", False), Form("float", False), Form(None, True)}
    assert (forms.is_mixed, forms.has_single_values) == (True, False)


@pytest.mark.parametrize(
    ("value", "has_fraction"), [("2.50", True), ("2.00", False), ("1e+18", False), ("1e-3", True), ("-0.5", True)]
)
def test_fractions_are_noticed(value: str, has_fraction: bool) -> None:
    forms = LabelForms()
    forms.add([(value, "float")], is_list=False)
    assert forms.has_fractions == has_fraction


def test_fraction_in_a_string_is_not_counted() -> None:
    forms = LabelForms()
    forms.add([("2.5", "str")], is_list=False)
    assert not forms.has_fractions


@pytest.mark.parametrize(
    ("lists", "length"),
    [
        (["01", "10"], 2),
        (["011", "100"], 3),
        (["0", "1", "01", ""], None),  # the ids of two labels
        (["01", "10", "1"], None),
        (["12", "02"], None),
        (["011"] * 19 + ["12"], 3),  # one list of twenty may be wrong
        (["011"] * 18 + ["12"], None),
        (["011", "100", "10"] * 20, 3),
        ([], None),
    ],
)
def test_lists_of_zeros_and_ones_are_distinguished_from_lists_of_labels(lists: list[str], length: int | None) -> None:
    assert forms_of_lists(*lists).indicator_length == length


def test_zeros_and_ones_may_be_written_as_truth_values() -> None:
    forms = LabelForms()
    forms.add([(" True", "str"), ("FALSE", "str"), ("1.0", "float")], is_list=True)
    assert (forms.only_zeros_and_ones, forms.share_of_indicators) == (True, 1)
    forms.add([("yes", "str")], is_list=True)
    assert (forms.only_zeros_and_ones, forms.share_of_indicators) == (False, 0.5)


def test_several_columns_hold_a_zero_or_one_each() -> None:
    assert LabelForms(num_columns=4).indicator_length == 4

"""Forms of the labels of all rows of a split."""

from __future__ import annotations

import pytest

from research.tasks.label_forms import Form, LabelForms


def forms_of_lists(*lists: str) -> LabelForms:
    """Return the forms of lists of one-digit numbers; each list is given as a string of digits."""
    forms = LabelForms()
    for digits in lists:
        forms.add([(digit, "int") for digit in digits], is_list=True)
    return forms


def test_label_forms_collect_the_forms_of_all_rows() -> None:
    forms = LabelForms()
    forms.add([("1", "int")], is_list=False)
    forms.add([("2.0", "float")], is_list=False)
    assert (forms.type_names, forms.has_lists, forms.is_mixed) == ({"int", "float"}, False, False)
    assert (forms.has_fractions, forms.has_one_value_per_row, forms.share_of_indicators) == (False, True, 0)
    forms.add([], is_list=True)
    assert forms.forms == {
        Form("int", in_list=False),
        Form("float", in_list=False),
        Form(None, in_list=True),
    }
    assert (forms.is_mixed, forms.has_one_value_per_row) == (True, False)


@pytest.mark.parametrize(
    ("value", "has_fraction"), [("2.50", True), ("2.00", False), ("1e+18", False), ("1e-3", True), ("-0.5", True)]
)
def test_has_fractions_recognises_fractions(value: str, has_fraction: bool) -> None:
    forms = LabelForms()
    forms.add([(value, "float")], is_list=False)
    assert forms.has_fractions == has_fraction


def test_has_fractions_ignores_strings() -> None:
    forms = LabelForms()
    forms.add([("2.5", "str")], is_list=False)
    assert not forms.has_fractions


@pytest.mark.parametrize(
    ("lists", "length"),
    [
        (["01", "10"], 2),
        (["011", "100"], 3),
        (["0", "1", "01", ""], None),  # lists of the label names 0 and 1
        (["01", "10", "1"], None),  # neither a repeated value nor the same length in all lists
        (["12", "02"], None),
        (["011"] * 19 + ["12"], 3),  # one list in twenty may be malformed
        (["011"] * 18 + ["12"], None),
        (["011", "100", "10"] * 20, 3),  # the most frequent length
        ([], None),
    ],
)
def test_indicator_length_distinguishes_indicators_from_lists_of_labels(lists: list[str], length: int | None) -> None:
    assert forms_of_lists(*lists).indicator_length == length


def test_booleans_count_as_zeros_and_ones() -> None:
    forms = LabelForms()
    forms.add([(" True", "str"), ("FALSE", "str"), ("1.0", "float")], is_list=True)
    assert (forms.only_zeros_and_ones, forms.share_of_indicators) == (True, 1)
    forms.add([("yes", "str")], is_list=True)
    assert (forms.only_zeros_and_ones, forms.share_of_indicators) == (False, 0.5)


def test_indicator_length_of_several_columns_is_the_number_of_columns() -> None:
    assert LabelForms(num_columns=4).indicator_length == 4

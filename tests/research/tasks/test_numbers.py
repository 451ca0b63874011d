"""Numbers in files."""

from __future__ import annotations

import pytest

from research.tasks.numbers import NUMBER, WHOLE_NUMBER, without_exponent


@pytest.mark.parametrize(
    ("text", "is_number", "is_whole"),
    [
        ("3", True, True),
        ("-3.00", True, True),
        ("+.5", True, False),
        ("1e3", True, False),
        ("1.5E-2", True, False),
        (".", False, False),
        ("nan", False, False),
        ("1,5", False, False),
        ("", False, False),
    ],
)
def test_patterns_match_numbers_and_whole_numbers(text: str, is_number: bool, is_whole: bool) -> None:
    assert (NUMBER.fullmatch(text) is not None, WHOLE_NUMBER.fullmatch(text) is not None) == (is_number, is_whole)


def test_without_exponent_expands_only_whole_numbers() -> None:
    expanded = {" 1e+18 ": "1000000000000000000", "2.5e1": "25", "2.55e1": "2.55e1", " 7 ": "7", "eve": "eve"}
    assert {text: without_exponent(text) for text in expanded} == expanded

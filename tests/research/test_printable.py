"""Texts of other people's files on one line."""

from __future__ import annotations

import pytest

from research.printable import printable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain é 表 👩‍🚀", "plain é 表 👩‍🚀"),
        ("two\nlines\tand\r", r"two\nlines\tand\r"),
        ("\x1b[31mred\x85\u2028", r"\x1b[31mred\x85\u2028"),
        ("half \ud800, byte \udce9", r"half \ud800, byte \udce9"),
        ("\u202etxt.exe", r"\u202etxt.exe"),
    ],
)
def test_printable_escapes_what_acts_on_a_terminal(text: str, expected: str) -> None:
    assert printable(text) == expected


def test_printable_keeps_beginning_and_end_of_long_texts() -> None:
    shown = printable(f"start{'x' * 5000}end", longest=120)
    assert shown.startswith("startx")
    assert shown.endswith("xend")
    assert len(shown) <= 130
    assert "4,908 characters" in shown

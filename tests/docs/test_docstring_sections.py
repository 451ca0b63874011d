"""Docstrings get an empty line before each section, which the parser of the documentation site expects."""

from __future__ import annotations

import pytest

pytest.importorskip("griffe", reason="needs griffe (`make docs` installs it)")

from docstring_sections import separate_sections


def test_separate_sections_puts_an_empty_line_before_each_section() -> None:
    assert separate_sections("Do it.\n\nArgs:\n    x: it.\nReturns:\n    It.\n") == (
        "Do it.\n\nArgs:\n    x: it.\n\nReturns:\n    It.\n"
    )

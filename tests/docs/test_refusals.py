"""The table of reasons for refused edits quotes messages that exist in the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.docs.blocks import DOCS

HEADING = "## Why was my edit refused?"
GAP = "..."
"""Stands for any value in a quoted message."""


def quoted_messages() -> list[str]:
    """Return the messages in the first column of the table."""
    section = (DOCS / "concepts" / "edits.md").read_text(encoding="utf-8").split(HEADING)[1].split("\n#")[0]
    return re.findall(r"^\| `([^`]+)` \|", section, flags=re.MULTILINE)


def string_literals(source: Path) -> Iterator[str]:
    """Yield the string literals of a source file; each value in an f-string is replaced by GAP."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else GAP for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.fixture(scope="module")
def code_strings() -> list[str]:
    """All string literals in the code of Midway."""
    sources = [path for folder in ("research", "heads") for path in (ROOT / folder).rglob("*.py")]
    return [text for source in sources for text in string_literals(source)]


def test_table_quotes_several_messages() -> None:
    assert len(quoted_messages()) > 5


@pytest.mark.parametrize("message", quoted_messages())
def test_quoted_message_is_in_the_code(message: str, code_strings: list[str]) -> None:
    pattern = ".*".join(map(re.escape, message.split(GAP)))
    assert any(re.search(pattern, text, flags=re.DOTALL) for text in code_strings)

"""The example of a study's report has the sections that the current code writes."""

from __future__ import annotations

import re

from tests.conftest import ROOT
from tests.docs.blocks import DOCS

TEMPLATE = ROOT / "research" / "studies" / "report" / "templates" / "study.html"
CONDITIONAL = ("Missing results", "How the arms were chosen")
"""Sections that only a study with failed or waiting trials has, or one whose arms a search chose."""


def section_titles(html: str) -> list[str]:
    """Return the fixed first words of all section titles, up to a value that differs between studies."""
    titles = re.findall(r"<h2[^>]*>(.*?)</h2>", html)
    return [re.split(r"[,:]|{[{%]", title)[0].strip() for title in titles]


def test_example_report_has_the_sections_of_the_template() -> None:
    expected = [title for title in section_titles(TEMPLATE.read_text(encoding="utf-8")) if title not in CONDITIONAL]
    assert section_titles((DOCS / "heads.html").read_text(encoding="utf-8")) == expected

"""The tables of a page of the documentation, as far as tests compare them with what there is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path


def described(page: Path, anchor: str, header: str) -> list[str]:
    """Return what the first column of a section's table lists, as code, under a header."""
    text = page.read_text(encoding="utf-8")
    sections = re.split(r"^#+ ", text, flags=re.MULTILINE)
    (section,) = [section for section in sections if section.partition("\n")[0].endswith(f"{{ #{anchor} }}")]
    rows = [line.split("|")[1].strip() for line in section.splitlines() if line.startswith("|")]
    first = rows.index(header) + 2  # below the line of dashes
    names = []
    for row in rows[first:]:
        if not row.startswith("`"):
            break  # the header of the section's next table
        names += re.findall(r"`([^`]+)`", row)
    return names


def compare(descriptions: Iterable[str], found: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return what is described and not found, and what is found and not described; `<name>` stands for anything."""
    descriptions, found = list(descriptions), set(found)
    matching = {
        name: {each for each in found if re.fullmatch(re.sub(r"<\\?\w+>", ".+", re.escape(name)), each)}
        for name in descriptions
    }
    missing = [name for name, matches in matching.items() if not matches]
    return missing, sorted(found - set().union(*matching.values()))

"""Read tables of a documentation page, and compare them with the actual names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path


def described(page: Path, anchor: str, header: str) -> list[str]:
    """Return the names in the first column of a table.

    Args:
        page: the page with the table.
        anchor: anchor of the section with the table.
        header: header of the first column, which selects one of the section's tables.
    """
    text = page.read_text(encoding="utf-8")
    sections = re.split(r"^#+ ", text, flags=re.MULTILINE)
    (section,) = [section for section in sections if section.partition("\n")[0].endswith(f"{{ #{anchor} }}")]
    rows = [line.split("|")[1].strip() for line in section.splitlines() if line.startswith("|")]
    first_row = rows.index(header) + 2  # below the line of dashes
    names = []
    for row in rows[first_row:]:
        if not row.startswith("`"):
            break  # the header of the section's next table
        names += re.findall(r"`([^`]+)`", row)
    return names


def compare(descriptions: Iterable[str], actual_names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the descriptions that match no actual name, and the actual names that no description matches.

    A part `<name>` of a description matches any text.
    """
    descriptions, actual_names = list(descriptions), set(actual_names)
    matches_by_description = {
        name: {
            candidate
            for candidate in actual_names
            if re.fullmatch(re.sub(r"<\\?\w+>", ".+", re.escape(name)), candidate)
        }
        for name in descriptions
    }
    missing = [name for name, matches in matches_by_description.items() if not matches]
    return missing, sorted(actual_names - set().union(*matches_by_description.values()))

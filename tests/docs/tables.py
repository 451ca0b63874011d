"""Read the names that a table of a documentation page describes, and compare them with the actual names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path


def described_names(page: Path, anchor: str, header: str) -> list[str]:
    """Return the names that a table describes: those in its first column.

    Args:
        page: the page with the table.
        anchor: anchor of the section that contains the table.
        header: header of the table's first column, which selects one of the section's tables.
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


def compare_names(described: Iterable[str], actual_names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the described names that match no actual name, and the actual names that match no described name.

    A placeholder in angle brackets, as in `validation/<metric>`, matches any text.
    """
    described, actual_names = list(described), set(actual_names)
    matches_by_described_name = {
        name: {
            candidate
            for candidate in actual_names
            if re.fullmatch(re.sub(r"<\\?\w+>", ".+", re.escape(name)), candidate)
        }
        for name in described
    }
    missing = [name for name, matches in matches_by_described_name.items() if not matches]
    return missing, sorted(actual_names - set().union(*matches_by_described_name.values()))

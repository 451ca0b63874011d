"""Pieces of Markdown that the generated pages are made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def code(text: object) -> str:
    """Return a text as inline code."""
    return f"`{text}`"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; bars inside of cells are escaped, and line breaks become spaces."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def heading(level: int, text: str, anchor: str) -> str:
    """Return a heading with an anchor of its own."""
    return f"{'#' * level} {text} {{ #{anchor} }}\n"


def link_settings(text: str, anchors: Iterable[str], page: str = "") -> str:
    """Return a description in which each `--setting` that the page has links to it.

    Args:
        text: the description; what is already code stays as it is.
        anchors: names of the settings that have anchors.
        page: the page with the anchors, if it is another one.
    """
    known = set(anchors)
    parts = re.split(r"(`[^`]*`)", text)

    def link(found: re.Match[str]) -> str:
        name = found[1]
        return f"[`--{name}`]({page}#{name})" if name in known else f"`{found[0]}`"

    return "".join(
        part if part.startswith("`") else re.sub(r"--([a-z]\w*)(?:\.(?:<\w+>|\w+))*", link, part) for part in parts
    )

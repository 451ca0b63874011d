"""Pieces of Markdown that the generated pages are made of."""

from __future__ import annotations

import re
from collections.abc import Iterable


def code(text: object) -> str:
    """Return a text as inline code."""
    return f"`{text}`"


def heading(level: int, text: str, anchor: str) -> str:
    """Return a heading with an anchor of its own."""
    return f"{'#' * level} {text} {{ #{anchor} }}\n"


LISTED = {"data": "data-sources"}
"""Pages of registries, as far as they are not named like the word that --list takes."""


def link_settings(text: str, anchors: Iterable[str], page: str = "") -> str:
    """Return a description in which each `--setting` that a page has links to it, and `--list heads` to the heads.

    Args:
        text: the description; what is already code stays as it is.
        anchors: names of the settings that have anchors.
        page: the page with the anchors, if it is another one.
    """
    known = set(anchors)
    parts = re.split(r"(`[^`]*`)", text)

    def link(found: re.Match[str]) -> str:
        name = found[1]
        if found[2]:
            return f"[`{found[0]}`]({LISTED.get(found[2], found[2])}.md)"
        return f"[`{found[0]}`]({page}#{name})" if name in known else f"`{found[0]}`"

    return "".join(
        part
        if part.startswith("`")
        else re.sub(r"--([a-z]\w*)(?:(?<=--list) ([a-z]+)|(?:\.(?:<\w+>|\w+))*)", link, part)
        for part in parts
    )

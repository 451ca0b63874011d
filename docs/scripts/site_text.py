"""Functions that return pieces of Markdown for the generated pages."""

from __future__ import annotations

import re
from collections.abc import Iterable


def code(text: object) -> str:
    """Return inline code."""
    return f"`{text}`"


def heading(level: int, text: str, anchor: str) -> str:
    """Return a heading with an anchor of its own."""
    return f"{'#' * level} {text} {{ #{anchor} }}\n"


PAGE_NAMES = {"data": "data-sources"}
"""Name of the page for each --list argument whose page has a different name."""


def link_settings(text: str, anchors: Iterable[str], page: str = "") -> str:
    """Return a description in which each `--setting` links to its anchor, and `--list heads` to the page of heads.

    Args:
        text: the description. Settings in inline code do not become links.
        anchors: names of the settings that have anchors; all other settings become inline code.
        page: the page with the anchors; empty if it is the page that contains the description.
    """
    settings_with_anchor = set(anchors)
    parts = re.split(r"(`[^`]*`)", text)

    def link(match: re.Match[str]) -> str:
        name = match[1]
        if match[2]:
            return f"[`{match[0]}`]({PAGE_NAMES.get(match[2], match[2])}.md)"
        return f"[`{match[0]}`]({page}#{name})" if name in settings_with_anchor else f"`{match[0]}`"

    # The pattern matches a setting with an option such as `.lstm_size` or `.<option>`, and --list with a registry.
    return "".join(
        part
        if part.startswith("`")
        else re.sub(r"--([a-z]\w*)(?:(?<=--list) ([a-z]+)|(?:\.(?:<\w+>|\w+))*)", link, part)
        for part in parts
    )

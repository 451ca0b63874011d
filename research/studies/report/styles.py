"""How each arm looks, the same in all pictures and tables of a page: a colour and a mark, told apart without either."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from research.system.plain_text import shorten

COLOURS = ("#0b5fa5", "#c8500a", "#1a7f37", "#b3202c", "#6b3fa0", "#7a4a21", "#c23b8f", "#4d4d4d", "#7d7a00", "#007f8c")
"""Dark enough for print, and for text on white."""
MARKS = (("o", "●"), ("s", "■"), ("^", "▲"), ("D", "◆"), ("v", "▼"), ("P", "✚"), ("X", "✖"), ("*", "★"), ("<", "◀"))
"""matplotlib's marker and the character that looks like it; of another number than the colours, so that pairs repeat
late."""
DASHES = ("-", "--", "-.", ":")
LONGEST = 26
"""Characters of a name."""


@dataclass(frozen=True)
class ArmStyle:
    """How an arm looks."""

    name: str
    """Its name, shortened where it is long; no two arms have the same."""
    colour: str
    """As CSS writes it."""
    marker: str
    """matplotlib's."""
    character: str
    """What looks like the marker in a text."""
    dashes: str
    """matplotlib's style of lines."""


def arm_styles(arms: Sequence[str]) -> dict[str, ArmStyle]:
    """Return how each arm looks."""
    short = [shorten(arm, LONGEST) for arm in arms]
    styles = {}
    for index, arm in enumerate(arms):
        name = short[index] if short.count(short[index]) == 1 else f"{short[index]} ({index + 1})"
        marker, character = MARKS[index % len(MARKS)]
        dashes = DASHES[index // len(COLOURS) % len(DASHES)]
        styles[arm] = ArmStyle(name, COLOURS[index % len(COLOURS)], marker, character, dashes)
    return styles

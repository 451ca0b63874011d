"""Styles of the arms in all figures and tables of a page: colour, marker and line style.

Readers can distinguish arms by colour, and also by marker or line style where there is no colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from research.system.plain_text import shorten

COLOURS = ("#0b5fa5", "#c8500a", "#1a7f37", "#b3202c", "#6b3fa0", "#7a4a21", "#c23b8f", "#4d4d4d", "#7d7a00", "#007f8c")
"""Colours that are dark enough for print and for text on white."""
MARKERS = (("o", "●"), ("s", "■"), ("^", "▲"), ("D", "◆"), ("v", "▼"), ("P", "✚"), ("X", "✖"), ("*", "★"), ("<", "◀"))
"""Matplotlib markers, each with a character that looks like it. Their number differs from the number of colours, so
that a pair of colour and marker repeats only after many arms."""
DASHES = ("-", "--", "-.", ":")
"""Matplotlib line styles."""
MAX_NAME_LENGTH = 26
"""Maximum number of characters of an arm's short name."""


@dataclass(frozen=True)
class ArmStyle:
    """Style of an arm."""

    name: str
    """Short name of the arm, unique among the arms."""
    colour: str
    """CSS colour."""
    marker: str
    """Matplotlib marker."""
    character: str
    """Character that looks like the marker, for text."""
    dashes: str
    """Matplotlib line style."""


def arm_styles(arms: Sequence[str]) -> dict[str, ArmStyle]:
    """Return the style of each arm."""
    short = [shorten(arm, MAX_NAME_LENGTH) for arm in arms]
    styles = {}
    for index, arm in enumerate(arms):
        name = short[index] if short.count(short[index]) == 1 else f"{short[index]} ({index + 1})"
        marker, character = MARKERS[index % len(MARKERS)]
        dashes = DASHES[index // len(COLOURS) % len(DASHES)]
        styles[arm] = ArmStyle(name, COLOURS[index % len(COLOURS)], marker, character, dashes)
    return styles

"""Styles of the arms in all figures and tables of a page: colour, marker and line style.

Readers can distinguish arms by colour, and also by marker or line style where there is no colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from research.records.palette import COLOURS, INK, LINE_STYLES, ON_DARK
from research.studies.grid import COMMON_PAST
from research.system.plain_text import shorten

MANY_ARMS = 12
"""With more arms, pages show less of each arm: collapsed tables with one row per arm, and curves of two arms only."""
MARKERS = (("o", "●"), ("s", "■"), ("^", "▲"), ("D", "◆"), ("v", "▼"), ("P", "✚"), ("X", "✖"), ("*", "★"), ("<", "◀"))
"""Matplotlib markers, each with a character that looks like it. Their number differs from the number of colours, so
that a pair of colour and marker repeats only after many arms."""
MAX_NAME_LENGTH = 26
"""Maximum number of characters of an arm's short name."""


@dataclass(frozen=True)
class ArmStyle:
    """Style of an arm."""

    name: str
    """Short name of the arm, unique among the arms."""
    colour: str
    """CSS colour on a light page, and in figures."""
    dark_colour: str
    """CSS colour on a dark page."""
    marker: str
    """Matplotlib marker."""
    character: str
    """Character that looks like the marker, for text."""
    dashes: str
    """Matplotlib line style."""


PAST_STYLE = ArmStyle(COMMON_PAST, INK, ON_DARK[INK], "", "", "-")
"""Style of the steps that all arms have in common."""


def arm_styles(arms: Sequence[str]) -> dict[str, ArmStyle]:
    """Return the style of each arm."""
    short = [shorten(arm, MAX_NAME_LENGTH) for arm in arms]
    styles = {}
    for index, arm in enumerate(arms):
        name = short[index] if short.count(short[index]) == 1 else f"{short[index]} ({index + 1})"
        marker, character = MARKERS[index % len(MARKERS)]
        dashes = LINE_STYLES[index // len(COLOURS) % len(LINE_STYLES)]
        colour = COLOURS[index % len(COLOURS)]
        styles[arm] = ArmStyle(name, colour, ON_DARK[colour], marker, character, dashes)
    return styles

"""The colours of all figures, and their counterparts on dark pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

COLOURS = ("#0077bb", "#ee6677", "#117733", "#cc79a7", "#332288", "#999933", "#882255")
"""Colours that readers with any kind of colour vision can tell apart on white.

Source: Okabe and Ito 2008, Color Universal Design; Tol 2021, Colour Schemes (SRON/EPS/TN/09-002). Differs: colours of
several of their schemes that have a contrast of at least 3 with white.
"""
LINE_STYLES = ("-", "--", "-.", ":")
"""Matplotlib line styles, which distinguish curves of the same colour."""
INK, PAPER = "#000000", "#ffffff"
"""Text, lines and background."""
GRID = "#eeeeee"
"""Grid lines."""
FAINT = "#9bb8d3"
"""Noisy values behind their running mean."""
BACKGROUND = "#a0a0a0"
"""Curves in the background."""
DARK_MATRIX, LIGHT_MATRIX = "#08306b", "#f7fbff"
"""Numbers on light and on dark cells of a matrix: the ends of MATRIX."""
MATRIX = "Blues"
"""Matplotlib colour map of a matrix, from few to many."""
ON_DARK: Mapping[str, str] = {
    INK: "#e6edf3",
    PAPER: "#0d1117",
    GRID: "#2a3038",
    "#cccccc": "#444c56",  # frames of legends
    FAINT: "#3d6280",
    "#0077bb": "#56b4e9",
    "#ee6677": "#e69f00",
    "#117733": "#4fb06d",
    "#cc79a7": "#ffc8e8",
    "#332288": "#7f8cff",
    "#999933": "#eedd88",
    "#882255": "#e0609a",
}
"""The colour on a dark page of each colour that needs another one there."""


def cycle_colours(axes: Axes) -> None:
    """Let the curves of axes take COLOURS in turn, and LINE_STYLES once all colours are taken."""
    num_colours, num_styles = len(COLOURS), len(LINE_STYLES)
    axes.set_prop_cycle(
        color=COLOURS * num_styles, linestyle=[style for style in LINE_STYLES for _ in range(num_colours)]
    )


def block_colours(blocks: Sequence[str]) -> dict[str, str]:
    """Return a colour for each block of a model: shades for the encoder's blocks, and one that stands out for the head.

    Args:
        blocks: names of the blocks in the order of the model; the last one is the head.
    """
    *encoder, head = blocks
    # The ends of the colour map are too dark for dark pages or too light for light ones.
    positions = (0.3 + 0.45 * index / max(1, len(encoder) - 1) for index in range(len(encoder)))
    shades = (to_hex(colormaps["viridis"](position)) for position in positions)
    return {**dict(zip(encoder, shades, strict=True)), head: COLOURS[1]}

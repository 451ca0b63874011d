"""Arms have distinct styles and short names."""

from __future__ import annotations

import pytest

from research.records.palette import COLOURS
from research.studies.report.styles import arm_styles


@pytest.mark.parametrize("num_arms", [10, 60])
def test_each_arm_has_a_unique_name_and_pair_of_colour_and_marker(num_arms: int) -> None:
    styles = arm_styles([f"arm {index}" for index in range(num_arms)]).values()
    assert len({(style.colour, style.marker) for style in styles}) == num_arms
    assert len({style.colour for style in list(styles)[: len(COLOURS)]}) == len(COLOURS)  # they differ by colour alone
    assert len({style.name for style in styles}) == num_arms


def test_long_names_are_shortened_and_remain_unique() -> None:
    start, end = "head=lstm, learning rate 0.0001, ", ", recipe a"
    arms = [f"{start}warm{end}", f"{start}cold{end}", f"{start}warm{end} "]  # the last one differs only in a space
    first, second, third = (style.name for style in arm_styles(arms).values())
    assert len({first, second, third}) == 3
    assert first == "head=lstm, … recipe a (1)"  # the number of the arm makes the name unique

"""Styles and short names of arms."""

from __future__ import annotations

import pytest

from research.studies.report.styles import arm_styles


@pytest.mark.parametrize("number", [10, 60])
def test_each_arm_has_a_unique_name_and_pair_of_colour_and_marker(number: int) -> None:
    styles = arm_styles([f"arm {index}" for index in range(number)]).values()
    assert len({(style.colour, style.marker) for style in styles}) == number
    assert len({style.colour for style in list(styles)[:10]}) == 10
    assert len({style.name for style in styles}) == number


def test_long_names_are_shortened_and_remain_unique() -> None:
    arms = [f"head=lstm, learning rate 0.0001, {end}, recipe a" for end in ("warm", "cold", "warm")]
    first, second, third = (style.name for style in arm_styles([*arms[:2], arms[2] + " "]).values())
    assert len({first, second, third}) == 3
    assert first == "head=lstm, … recipe a (1)"

"""Settings of a script itself are separated from those of the run, and converted to their types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from research.settings.arguments import Flag
from research.settings.declarations import Effect, setting
from research.settings.script_settings import parse_group, split_flags


@dataclass(frozen=True, kw_only=True)
class Pouring:
    """Pouring"""  # the title of the group in `--help`

    cups: int = setting(1, effect=Effect.INVOCATION, above=0, unit="cups")
    """Number of cups."""
    drink: Literal["tea", "coffee"] = setting("tea", effect=Effect.INVOCATION)
    """Content of the cups."""
    sugar: int | Literal["some"] = setting(0, effect=Effect.INVOCATION, at_least=0, unit="spoons")
    """Spoons of sugar in each cup."""


def test_split_flags_separates_a_group_and_parse_group_uses_the_last_value_of_a_flag() -> None:
    flags = [Flag("cups", None, "2"), Flag("head", "size", "3"), Flag("cups", None, "4")]
    given_values, other_flags = split_flags(Pouring, flags)
    assert (given_values, list(map(str, other_flags))) == ({"cups": ["2", "4"]}, ["--head.size=3"])
    assert parse_group(Pouring, given_values) == Pouring(cups=4)
    assert [parse_group(Pouring, {"sugar": [value]}).sugar for value in ("some", "2")] == ["some", 2]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"cups": ["0"]}, "--cups .* above 0.*'0'"),
        ({"cups": ["two"]}, "--cups .* above 0.*'two'"),
        ({"cups": ["nan"]}, "--cups .* above 0.*'nan'"),
        ({"sugar": ["-1"]}, "--sugar .*some .* at least 0.*'-1'"),
        ({"sugar": ["sum"]}, "--sugar .*some .* at least 0.*'sum'"),
        ({"drink": ["coffe"]}, "tea or coffee.*'coffe'.*'coffee'"),
    ],
)
def test_parse_group_rejects_invalid_values(values: dict[str, list[str]], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        parse_group(Pouring, values)

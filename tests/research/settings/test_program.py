"""A script's flags are those of its groups, and its help shows them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from heads.registry import UnknownNameError
from research.settings.config import RunConfig
from research.settings.declarations import Effect, declarations, setting
from research.settings.program import RUN, Program


@dataclass(frozen=True, kw_only=True)
class Pouring:
    """Pouring"""

    cups: str | None = setting(None, effect=Effect.INVOCATION, takes_several=True)
    """Which of them."""


ALONE = Program("pour.py", "python pour.py", "Pour.", own=(Pouring,), takes_run_settings=False)
WITH_RUN = Program("pour.py", "python pour.py", "Pour.", own=(Pouring,))


def test_run_takes_every_setting_and_recipes() -> None:
    assert {*declarations(RunConfig), "recipe", "list"} < RUN.flag_types.keys()
    assert [str(flag) for flag in RUN.read(["--head.size", "3", "--overwrite"])] == [
        "--head.size=3",
        "--overwrite=true",
    ]


def test_program_of_its_own_settings_takes_no_others() -> None:
    assert [str(flag) for flag in ALONE.read(["--cups", "a", "b"])] == ["--cups=a", "--cups=b"]
    with pytest.raises(UnknownNameError, match="--lr"):
        ALONE.read(["--lr", "1"])
    shown = ALONE.parser.format_help()
    assert "--cups" in shown
    assert "--lr" not in shown


def test_own_settings_are_shown_before_those_of_a_run() -> None:
    assert {*ALONE.flag_types, *RUN.flag_types} == WITH_RUN.flag_types.keys()
    shown = WITH_RUN.parser.format_help()
    assert shown.index("--cups") < shown.index("--lr ")

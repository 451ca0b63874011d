"""Flags and help of a script with its own groups of settings."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from heads.registry import UnknownNameError
from research.settings.config import RunConfig
from research.settings.declarations import Effect, declarations, setting
from research.settings.program import RUN, Program


@dataclass(frozen=True, kw_only=True)
class Pouring:
    """Pouring"""  # the title of the group in `--help`

    cups: str | None = setting(None, effect=Effect.INVOCATION, takes_several_values=True)
    """Cups to fill."""


WITHOUT_RUN_SETTINGS = Program("pour.py", "python pour.py", "Pour.", extra_groups=(Pouring,), takes_run_settings=False)
WITH_RUN_SETTINGS = Program("pour.py", "python pour.py", "Pour.", extra_groups=(Pouring,))


def test_run_program_accepts_all_settings_and_recipes() -> None:
    assert {*declarations(RunConfig), "recipe", "list"} < RUN.flag_types.keys()
    assert [str(flag) for flag in RUN.read_flags(["--head.size", "3", "--overwrite"])] == [
        "--head.size=3",
        "--overwrite=true",
    ]


def test_program_without_run_settings_rejects_settings_of_a_run() -> None:
    assert [str(flag) for flag in WITHOUT_RUN_SETTINGS.read_flags(["--cups", "a", "b"])] == ["--cups=a", "--cups=b"]
    with pytest.raises(UnknownNameError, match="--lr"):
        WITHOUT_RUN_SETTINGS.read_flags(["--lr", "1"])
    help_text = WITHOUT_RUN_SETTINGS.parser.format_help()
    assert "--cups" in help_text
    assert "--lr" not in help_text


def test_help_shows_the_settings_of_the_script_before_those_of_a_run() -> None:
    assert {*WITHOUT_RUN_SETTINGS.flag_types, *RUN.flag_types} == WITH_RUN_SETTINGS.flag_types.keys()
    help_text = WITH_RUN_SETTINGS.parser.format_help()
    assert help_text.index("--cups") < help_text.index("--lr ")

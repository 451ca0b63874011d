"""Recipes, flags and a fork's settings are data: their tags run nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from research.settings.command_line import Command, parse
from tests.builders.hostile import assert_one_line

TAGS = (
    "!!python/object/apply:os.system ['touch SPRUNG']",
    "!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['SPRUNG']]",
    "!!python/object/new:os.system ['touch SPRUNG']",
    "!!python/name:os.system",
    "!!python/module:os",
)


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("setting", ["head: {}", "hook: [{}]", "timeline: [{{at: 1st, unfreeze: {}}}]", "{}"])
def test_recipe_with_a_python_tag_is_refused_and_runs_nothing(
    sprung: Path, tmp_path: Path, setting: str, tag: str
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(setting.format(tag.replace("SPRUNG", str(sprung))))
    with pytest.raises(ValueError, match=r"recipe\.yaml .*YAML") as caught:
        parse(["--recipe", str(recipe)])
    assert_one_line(caught.value)


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("flag", ["--head", "--hook", "--hook=[{}]", "--timeline={{at: 1st, unfreeze: {}}}", "--lr"])
def test_flag_with_a_python_tag_runs_nothing(sprung: Path, tag: str, flag: str) -> None:
    value = tag.replace("SPRUNG", str(sprung))
    argument = flag.format(value) if "=" in flag else f"{flag}={value}"
    try:
        command = parse([argument])
    except ValueError as error:
        assert_one_line(error)
    else:  # for a flag that takes text it is a text like any other
        assert isinstance(command, Command)
        assert value in (command.config.head, *command.config.hook)


def test_fork_of_a_run_whose_settings_have_a_python_tag_is_refused(
    finished: Path, sprung: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    with (run / "config.yaml").open("a") as file:
        file.write(f"\nname: !!python/object/apply:os.system ['touch {sprung}']\n")
    with pytest.raises(ValueError, match=r"python/object/apply:os\.system") as caught:
        parse(["--fork", str(run)])
    assert_one_line(caught.value)


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/x", "~/x", "..", ""])
def test_name_that_leaves_the_folder_of_runs_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"\bname .*runs/") as caught:
        parse([f"--name={name}"])
    assert_one_line(caught.value)

"""Python tags in YAML (in recipes, flags and the settings of a forked run) never run code; --name cannot leave runs/.

The fixture `must_not_be_created` asserts after each test that no code was run.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from research.settings.command_line import Command, parse
from tests.builders.hostile import assert_one_line

TAGS = (
    "!!python/object/apply:os.system ['touch MARKER']",
    "!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['MARKER']]",
    "!!python/object/new:os.system ['touch MARKER']",
    "!!python/name:os.system",
    "!!python/module:os",
)
"""Tags that run code, or give access to it, if they are loaded. MARKER stands for the path `must_not_be_created`."""


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("setting", ["head: {}", "hook: [{}]", "timeline: [{{at: 5st, unfreeze: {}}}]", "{}"])
def test_recipe_with_a_python_tag_is_rejected_without_running_it(
    must_not_be_created: Path, tmp_path: Path, setting: str, tag: str
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(setting.format(tag.replace("MARKER", str(must_not_be_created))))
    with pytest.raises(ValueError, match=r"recipe\.yaml .*YAML") as caught:
        parse(["--recipe", str(recipe)])
    assert_one_line(caught.value)


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("flag", ["--head", "--hook", "--hook=[{}]", "--timeline={{at: 5st, unfreeze: {}}}", "--lr"])
def test_python_tag_in_a_flag_is_not_run(must_not_be_created: Path, tag: str, flag: str) -> None:
    value = tag.replace("MARKER", str(must_not_be_created))
    argument = flag.format(value) if "=" in flag else f"{flag}={value}"
    try:
        command = parse([argument])
    except ValueError as error:
        assert_one_line(error)
    else:  # flags whose values are strings accept any string, but must not run it
        assert isinstance(command, Command)
        assert value in (command.config.head, *command.config.hook)


def test_fork_of_a_run_with_a_python_tag_in_its_settings_is_rejected(
    finished_run: Path, must_not_be_created: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(finished_run, tmp_path / "run")
    with (run / "config.yaml").open("a") as file:
        file.write(f"\nname: !!python/object/apply:os.system ['touch {must_not_be_created}']\n")
    with pytest.raises(ValueError, match=r"python/object/apply:os\.system") as caught:
        parse(["--fork", str(run)])
    assert_one_line(caught.value)


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/x", "~/x", "..", ""])
def test_name_that_leads_outside_the_runs_folder_is_rejected(name: str) -> None:
    with pytest.raises(ValueError, match=r"\bname .*runs/") as caught:
        parse([f"--name={name}"])
    assert_one_line(caught.value)

"""Tests of the command line of verify_resume.py: its own settings, and the settings of its runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.verify_resume import VerifyCommand, VerifySettings, parse_verify, parse_watched
from research.settings.program import HelpRequest


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test in an empty working directory."""
    monkeypatch.chdir(tmp_path)


def parse(*arguments: str) -> VerifyCommand:
    """Parse a command line that does not ask for help."""
    command = parse_verify(arguments)
    assert isinstance(command, VerifyCommand)
    return command


def test_settings_of_the_script_are_separated_from_settings_of_the_runs() -> None:
    command = parse("--cuts", "2", "--head", "lstm", "--head.lstm_size", "9", "--freeze", "encoder")
    assert command.settings == VerifySettings(cuts=2)
    assert command.run_flags == ["--head=lstm", "--head.lstm_size=9", "--freeze=encoder", "--save_every=20%"]
    assert command.run.config.head == {"name": "lstm", "lstm_size": "9"}
    watched = parse_watched([*command.run_flags, "--watch=hashes", "--cut=3:on_batch", "--output_dir=run"])
    assert (watched.settings.watch, watched.settings.cut) == ("hashes", "3:on_batch")
    assert (watched.run.config.head, watched.run.config.save_every) == (command.run.config.head, "20%")


def test_save_every_given_by_a_flag_or_recipe_is_kept() -> None:
    Path("recipe.yaml").write_text("save_every: 1st\n")  # "1st": every step
    assert parse("--save-every", "2st").run_flags == ["--save_every=2st"]  # a flag may have hyphens
    assert parse("--save_every", "null").run_flags == ["--save_every=null"]
    assert parse("--recipe", "recipe.yaml").run_flags == ["--recipe=recipe.yaml"]


def test_request_for_help_contains_the_chosen_head() -> None:
    request = parse_verify(["--head", "lstm", "--help"])
    assert isinstance(request, HelpRequest)
    assert (request.program.name, request.chosen) == ("verify_resume.py", (("head", "lstm"),))

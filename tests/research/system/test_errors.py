"""How a script ends: its exit status, and what the user is shown."""

from __future__ import annotations

import json
import operator
from pathlib import Path
from typing import Any

import pytest

from research.settings.plugins import check_plugins
from research.settings.times import parse_time
from research.system.errors import complain, describe_error, describe_failure, is_for_the_user, one_line, run_script
from research.system.events import ERROR, PLACE, Event, read_events


def users_error(command: list[str]) -> int:
    raise KeyError("mine")


def test_exit_status_is_that_of_the_command() -> None:
    assert run_script(["a", "b"], list, len) == 2
    assert run_script([], list, len) == 0
    assert run_script([], lambda arguments: None, lambda command: 7) == 0  # help was asked for


def test_mistake_on_the_command_line_ends_with_2_and_later_ones_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    refuse: Any = check_plugins
    assert run_script(["gone.py"], refuse, len) == 2
    assert run_script(["gone.py"], list, refuse) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith("error: ") and "gone.py" in line for line in lines] == [True, True]


def test_interrupt_ends_with_its_own_status(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(command: list[str]) -> int:
        raise error

    error = KeyboardInterrupt()
    assert run_script([], list, interrupt) == 130
    error = KeyboardInterrupt("stopped after step 3")
    error.exit_code = 143  # type: ignore[attr-defined]
    assert run_script([], list, interrupt) == 143
    assert capsys.readouterr().err.splitlines()[1] == "error: stopped after step 3"


def test_defect_keeps_its_traceback_and_is_reported_to_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PLACE, str(tmp_path / "events.jsonl"))
    with pytest.raises(IndexError):
        run_script([], list, operator.itemgetter(3))
    (event,) = read_events((tmp_path / "events.jsonl").read_bytes())
    assert event.kind == ERROR
    assert event.text.startswith("IndexError: ")


@pytest.mark.parametrize(
    ("flags", "num_traceback_lines"),
    [
        (["--traceback"], 1),
        (["--traceback=true"], 1),
        (["--traceback", "true"], 1),
        (["--traceback", "false"], 0),
        (["--traceback=false"], 0),
        (["--traceback", "--traceback=false"], 0),
        ([], 0),
    ],
)
def test_error_in_user_code_shows_its_line_and_on_request_the_traceback(
    flags: list[str], num_traceback_lines: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_script(flags, list, users_error) == 1
    printed = capsys.readouterr().err
    assert printed.count("Traceback (most recent call last)") == num_traceback_lines
    assert 'raise KeyError("mine")' in printed.partition("error: ")[2]
    assert printed.count("--traceback") == 1 - num_traceback_lines


def test_complain_prints_control_characters_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert complain("first\nsecond \x1b[31m", exit_code=3) == 3
    assert capsys.readouterr().err == "error: first\nsecond \\x1b[31m\n"


def test_complain_reports_to_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PLACE, str(tmp_path / "events.jsonl"))
    complain("the disk is full", exit_code=1)
    assert read_events((tmp_path / "events.jsonl").read_bytes()) == [Event(ERROR, "the disk is full")]


def test_only_a_value_error_of_the_product_is_for_the_user() -> None:
    with pytest.raises(ValueError, match="'50'") as own:
        parse_time("50")
    assert is_for_the_user(own.value)
    assert describe_error(own.value) == str(own.value)
    with pytest.raises(json.JSONDecodeError) as librarys:
        json.loads("{")
    assert not is_for_the_user(librarys.value)
    assert describe_error(librarys.value) is None
    assert describe_failure(librarys.value).startswith("JSONDecodeError: ")


def test_one_line_joins_lines_and_spaces() -> None:
    assert one_line(ValueError("a\n  b\tc ")) == "a b c"

"""Exit status of a script, and errors shown to the user."""

from __future__ import annotations

import json
import operator
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from research.settings.plugins import check_plugins
from research.settings.times import parse_time
from research.system.errors import (
    describe_failure,
    describe_user_error,
    is_user_facing,
    one_line,
    print_error,
    run_script,
)
from research.system.events import ERROR, EVENTS_FILE_VARIABLE, Event, read_events
from tests.conftest import ROOT


class Arguments(list[str]):
    """A parsed command line: the list of its arguments."""

    @property
    def traceback(self) -> bool:
        return "--traceback" in self


def fail_in_user_code(command: Arguments) -> int:
    raise KeyError("mine")


def test_run_script_returns_the_exit_status_of_the_command() -> None:
    # `Arguments` parses the command line. `len` executes the command; its exit status is the number of arguments.
    assert run_script(["a", "b"], Arguments, len) == 2
    assert run_script([], Arguments, len) == 0


def test_run_script_returns_2_for_errors_while_parsing_and_1_for_later_errors(
    capsys: pytest.CaptureFixture[str],
) -> None:
    reject: Any = check_plugins  # raises a user-facing error for missing.py, as a parser and as a command
    assert run_script(["missing.py"], reject, len) == 2
    assert run_script(["missing.py"], Arguments, reject) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith("error: ") and "missing.py" in line for line in lines] == [True, True]


def test_run_script_returns_the_exit_code_of_an_interrupt(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(command: Arguments) -> int:
        raise error

    error = KeyboardInterrupt()
    assert run_script([], Arguments, interrupt) == 130  # 128 + SIGINT
    error = KeyboardInterrupt("stopped after step 3")
    error.exit_code = 143  # type: ignore[attr-defined]  # 128 + SIGTERM
    assert run_script([], Arguments, interrupt) == 143
    assert capsys.readouterr().err.splitlines()[1] == "error: stopped after step 3"


def test_unexpected_error_is_raised_and_reported_to_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EVENTS_FILE_VARIABLE, str(tmp_path / "events.jsonl"))
    with pytest.raises(IndexError):
        run_script([], Arguments, operator.itemgetter(3))  # there is no fourth argument
    (event,) = read_events((tmp_path / "events.jsonl").read_bytes())
    assert event.kind == ERROR
    assert event.text.startswith("IndexError: ")


@pytest.mark.parametrize("shows_traceback", [True, False])
def test_error_in_user_code_shows_its_line_and_the_traceback_if_requested(
    shows_traceback: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_script(["--traceback"] * shows_traceback, Arguments, fail_in_user_code) == 1
    printed = capsys.readouterr().err
    assert printed.count("Traceback (most recent call last)") == shows_traceback
    assert 'raise KeyError("mine")' in printed.partition("error: ")[2]
    assert printed.count("--traceback") == 1 - shows_traceback


def test_print_error_escapes_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    assert print_error("first\nsecond \x1b[31m", exit_code=3) == 3
    assert capsys.readouterr().err == "error: first\nsecond \\x1b[31m\n"


def test_print_error_reports_to_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EVENTS_FILE_VARIABLE, str(tmp_path / "events.jsonl"))
    print_error("the disk is full", exit_code=1)
    assert read_events((tmp_path / "events.jsonl").read_bytes()) == [Event(ERROR, "the disk is full")]


def test_only_value_errors_raised_by_midway_are_user_facing() -> None:
    with pytest.raises(ValueError, match="'50'") as midway_error:
        parse_time("50")
    assert is_user_facing(midway_error.value)
    assert describe_user_error(midway_error.value) == str(midway_error.value)
    with pytest.raises(json.JSONDecodeError) as library_error:
        json.loads("{")
    assert not is_user_facing(library_error.value)
    assert describe_user_error(library_error.value) is None
    assert describe_failure(library_error.value).startswith("JSONDecodeError: ")


def test_one_line_collapses_whitespace() -> None:
    assert one_line(ValueError("a\n  b\tc ")) == "a b c"


@pytest.mark.parametrize("is_stdout", [True, False])
def test_broken_pipe_ends_the_script_silently_only_if_it_is_stdout(is_stdout: bool) -> None:
    extra_statement = "None" if is_stdout else "os.write(write, b'x')"
    program = f"""
import os, sys
from research.system.errors import run_script

class Arguments(list):
    traceback = False

def execute(command):
    read, write = os.pipe()
    os.close(read)
    print("x" * 100_000)
    {extra_statement}
    return 0

sys.exit(run_script([], Arguments, execute))
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        if is_stdout:
            process.stdout.close()
        else:
            process.stdout.read()
        printed = process.stderr.read()
    # 141 is 128 + SIGPIPE.
    assert ("BrokenPipeError" in printed, process.returncode) == ((False, 141) if is_stdout else (True, 1))
    assert (printed == "") is is_stdout

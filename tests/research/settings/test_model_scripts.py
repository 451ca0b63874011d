"""Command lines of scripts that use a trained model."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from heads.registry import UnknownNameError
from research.settings.declarations import Effect, setting
from research.settings.model_scripts import (
    ModelCommand,
    ModelScriptSettings,
    model_program,
    parser_for,
    run_model_script,
)


@dataclass(frozen=True, kw_only=True)
class CountSettings(ModelScriptSettings):
    """Count"""

    data: str = setting("", effect=Effect.INVOCATION)
    """Data to count."""
    columns: list[str] = setting([], effect=Effect.INVOCATION)
    """Columns to count."""


COUNT = model_program("count.py", "python count.py", "Count rows.", CountSettings)
parse = parser_for(COUNT, CountSettings)


def test_parser_takes_the_run_as_first_argument_or_as_flag() -> None:
    for arguments in (["runs/a", "--data", "x.csv"], ["--data=x.csv", "--run=runs/a"]):
        command = parse(arguments)
        assert isinstance(command, ModelCommand)
        assert (command.settings.run, command.settings.data) == ("runs/a", "x.csv")


def test_parser_joins_the_values_of_a_list() -> None:
    command = parse(["runs/a", "--data", "x.csv", "--columns", "id,date", "--columns", "[size]", "--plugin", "a.py"])
    assert isinstance(command, ModelCommand)
    assert command.settings.columns == ["id", "date", "size"]
    assert command.settings.plugin == ["a.py"]


@pytest.mark.parametrize("arguments", [["--data", "x.csv"], ["runs/a"], ["runs/a", "runs/b", "--data", "x.csv"]])
def test_parser_refuses_missing_and_superfluous_arguments(arguments: list[str]) -> None:
    with pytest.raises(ValueError, match="Expected"):
        parse(arguments)


def test_parser_suggests_a_near_flag() -> None:
    with pytest.raises(UnknownNameError, match="'--data'"):
        parse(["runs/a", "--dta", "x.csv"])


def test_run_model_script_prints_its_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["count.py", "--help"])
    assert run_model_script(COUNT, CountSettings, lambda settings: 1 / 0) == 0  # type: ignore[arg-type, return-value]
    printed = capsys.readouterr().out
    assert "python count.py RUN --data" in printed
    assert "Columns to count." in printed


def test_run_model_script_refuses_several_processes_unless_the_script_uses_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["count.py", "runs/a", "--data", "x.csv"])
    assert run_model_script(COUNT, CountSettings, lambda settings: 0) == 0
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    assert run_model_script(COUNT, CountSettings, lambda settings: 0) == 1
    assert capsys.readouterr().err.startswith("error: count.py uses only one process.")
    assert run_model_script(COUNT, CountSettings, lambda settings: 0, uses_several_processes=True) == 0

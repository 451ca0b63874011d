"""Settings of `ablate.py submit` are parsed, and those that cannot work are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from heads.registry import UnknownNameError
from research.settings.program import HelpRequest
from research.studies.command import StudyCommand, parse_submit
from research.studies.first_checks import check_study
from research.studies.main import plan_and_run_study
from research.studies.submission.settings import SubmitSettings
from tests.builders.slurm_stand_in import StandIn

SERVER = ("--storage", "postgresql+psycopg://user@host/db")


def parse(*arguments: str) -> StudyCommand:
    command = parse_submit(arguments)
    assert isinstance(command, StudyCommand)
    return command


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path contains the commands of Slurm."""
    stand_in = StandIn.create(tmp_path / "slurm")
    for name, value in stand_in.environment(1, 1, 0).items():
        monkeypatch.setenv(name, value)


def test_flags_of_the_submission_and_of_the_study_can_be_mixed() -> None:
    command = parse(
        *("--heads", "linear,lstm", "--partition", "gpu", "--workers=8", *SERVER, "--time-limit", "90m"),
        *("--gpus_per_task", "2", "--sbatch", "account=lab,exclusive", "--sbatch", "qos=high", "--memory", "7.5"),
    )
    assert command.submission == SubmitSettings(
        partition="gpu", time_limit="90m", gpus_per_task=2, memory=7.5, sbatch=["account=lab", "exclusive", "qos=high"]
    )
    assert command.submission.sbatch_options == {"account": "lab", "exclusive": True, "qos": "high"}
    assert (command.submission.time_limit_minutes, command.submission.signal_seconds) == (90, 180)
    assert command.spec.grid == {"head": ["linear", "lstm"]}
    assert (command.settings.workers, command.settings.storage) == (8, SERVER[1])


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "database server"),
        (["--storage", "sqlite:////shared/study.db"], "SQLite can lose results"),
        ([*SERVER, "--workers", "auto"], "--workers"),
        ([*SERVER, "--time_limit", "3m"], "--time_limit above 180"),
        ([*SERVER, "--sbatch", "signal=USR1"], "option signal itself"),
        (["--executor", "local", "--gpus_per_task", "1"], "--gpus_per_task has no effect"),
        (["--executor", "local", "--sbatch", "qos=high"], "--sbatch has no effect"),
    ],
)
def test_submissions_that_cannot_work_are_refused(arguments: list[str], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        check_study(parse("--heads", "linear", *arguments))


@pytest.mark.usefixtures("cluster")
def test_valid_submissions_pass_the_checks() -> None:
    check_study(parse("--heads", "linear", *SERVER))
    check_study(parse("--heads", "linear", "--executor", "local"))


def test_missing_sbatch_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match=r"sbatch.*--executor local"):
        check_study(parse("--heads", "linear", *SERVER))


def test_invalid_flags_are_refused() -> None:
    with pytest.raises(ValueError, match="'2 days'"):
        parse("--time_limit", "2 days")
    with pytest.raises(UnknownNameError, match="--partition"):
        parse("--partitoin", "gpu")


def test_help_shows_the_settings_of_the_submission(capsys: pytest.CaptureFixture[str]) -> None:
    request = parse_submit(["--help"])
    assert isinstance(request, HelpRequest)
    assert plan_and_run_study(request) == 0
    printed = capsys.readouterr().out
    assert "--partition" in printed
    assert "--heads" in printed

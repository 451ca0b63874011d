"""The command line of additional workers is parsed and checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from heads.registry import UnknownNameError
from research.settings.program import HelpRequest
from research.studies.command import WorkerSettings, parse_work
from research.studies.main import work

REQUIRED = ("--study", "a", "--storage", "sqlite:///a.db")


def test_worker_settings_are_parsed() -> None:
    assert parse_work(REQUIRED) == WorkerSettings(study="a", storage="sqlite:///a.db")
    # A flag may be written with hyphens.
    flags = ["--directory=c", "--num_workers=3", "--trial_timeout=2h", "--accelerate-config=d", "--traceback"]
    assert parse_work([*REQUIRED, *flags]) == WorkerSettings(
        study="a",
        storage="sqlite:///a.db",
        directory="c",
        num_workers=3,
        trial_timeout="2h",
        accelerate_config="d",
        traceback=True,
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--study", "a"], "--storage"),
        ([], "--study and --storage"),
        ([*REQUIRED, "--num_workers", "0"], r"--num_workers .*\b0\b"),
        ([*REQUIRED, "--num_workers", "two"], "--num_workers .*'two'"),
        ([*REQUIRED, "--trial_timeout", "2 days"], "'2 days'"),
    ],
)
def test_invalid_worker_settings_are_refused(arguments: list[str], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        parse_work(arguments)
    with pytest.raises(UnknownNameError, match="--storage"):
        parse_work([*arguments, "--storag", "b"])  # an unknown flag is reported before all other mistakes


def test_worker_help_shows_only_its_own_settings(capsys: pytest.CaptureFixture[str]) -> None:
    request = parse_work(["--help"])
    assert isinstance(request, HelpRequest)
    assert work(request) == 0
    printed = capsys.readouterr().out
    assert "--num_workers" in printed
    assert "--lr" not in printed


def test_worker_refuses_a_missing_storage_and_a_missing_launch_configuration(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.db"):
        work(WorkerSettings(study="a", storage=f"sqlite:///{tmp_path / 'none.db'}"))
    with pytest.raises(ValueError, match=r"--accelerate_config missing\.yaml"):
        work(WorkerSettings(study="a", storage="b", accelerate_config="missing.yaml"))
    assert list(tmp_path.iterdir()) == []

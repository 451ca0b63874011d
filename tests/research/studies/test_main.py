"""The command line of a study's further workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from research.studies.main import parse_work, work


def test_options_of_a_worker_are_read() -> None:
    found = parse_work(["--study", "a", "--storage", "sqlite:///a.db"])
    assert (found.study, found.storage, found.directory, found.num_workers) == ("a", "sqlite:///a.db", None, 1)
    found = parse_work(
        ["--study=a", "--storage=b", "--directory=c", "--num_workers=3", "--trial_timeout=2h", "--accelerate_config=d"]
    )
    assert (found.directory, found.num_workers, found.trial_timeout, found.accelerate_config) == (
        Path("c"),
        3,
        "2h",
        "d",
    )


def test_study_and_storage_are_needed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_work(["--study", "a"])
    assert caught.value.code == 2
    assert "--storage" in capsys.readouterr().err


def test_worker_of_a_study_that_is_not_there_is_refused(tmp_path: Path) -> None:
    options = ["--study", "a", "--storage", f"sqlite:///{tmp_path / 'none.db'}"]
    with pytest.raises(ValueError, match=r"none\.db"):
        work(parse_work(options))
    with pytest.raises(ValueError, match="--num_workers"):
        work(parse_work([*options, "--num_workers", "0"]))
    assert list(tmp_path.iterdir()) == []

"""A run directory with a different run than the command specifies is rejected."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from research import RunConfig
from research.records.results import config_as_yaml
from research.runner.resolve import resolve
from research.runner.same_run import DifferentRunError, check_finished, check_resume_directory
from tests.messages import collect_messages

SETTINGS: dict[str, Any] = {"data": "never read", "mixed_precision": "no"}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Directory of a finished run with the default objective."""
    config = resolve(RunConfig(**SETTINGS, objective="cross_entropy"))
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text(config_as_yaml(config))
    return folder


def messages_of_check(directory: Path, *, any_precision: bool = False, **changed: Any) -> list[str]:
    """Call check_finished with changed settings; return its messages about changes that have no effect."""
    config = resolve(RunConfig(**{**SETTINGS, **changed}))
    with collect_messages() as lines:
        check_finished(config, directory, {"rows_sha256": "not compared"}, any_precision=any_precision)
    return lines


def test_check_finished_accepts_the_same_settings(directory: Path) -> None:
    assert messages_of_check(directory) == []


def test_check_finished_reports_settings_without_an_effect(directory: Path) -> None:
    (line,) = messages_of_check(directory, log_every=3)
    assert "log_every was 10, now 3" in line


def test_check_finished_rejects_settings_with_an_effect(directory: Path) -> None:
    with pytest.raises(DifferentRunError, match=r"lr was 0\.0001, now 0\.5.*--fork ") as caught:
        messages_of_check(directory, lr=0.5)
    assert f"--fork {directory}" in str(caught.value)
    with pytest.raises(DifferentRunError, match=r"objective was .*cross_entropy.*, now .*focal"):
        messages_of_check(directory, objective="focal")


def test_check_finished_accepts_any_precision_if_none_was_given(directory: Path) -> None:
    with pytest.raises(DifferentRunError, match="mixed_precision was 'no', now 'bf16'"):
        messages_of_check(directory, mixed_precision="bf16")
    assert messages_of_check(directory, mixed_precision="bf16", any_precision=True) == []


def test_check_resume_directory_protects_another_run_in_the_directory(directory: Path, tmp_path: Path) -> None:
    def check_resume(checkpoint: Path, run_directory: Path = directory, **changed: Any) -> None:
        config = resolve(RunConfig(**{**SETTINGS, **changed}))
        check_resume_directory(dataclasses.replace(config, resume=str(checkpoint)), run_directory, any_precision=False)

    checkpoint_of_another_run = tmp_path / "another run" / "checkpoints" / "step-00000004"
    with pytest.raises(DifferentRunError, match=r"--resume .*step-00000004 .*seed was 0, now 1") as caught:
        check_resume(checkpoint_of_another_run, seed=1)
    assert str(directory) in str(caught.value)
    check_resume(checkpoint_of_another_run, run_directory=tmp_path / "new", seed=1)  # no run is in this directory
    check_resume(directory / "checkpoints" / "step-00000004", seed=1)  # a checkpoint of the run itself

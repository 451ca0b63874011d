"""Whether a directory holds the run that a command asks for."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from research import RunConfig
from research.records.results import config_as_yaml
from research.runner.resolve import resolve
from research.runner.same_run import OtherRunError, check_finished, refuse_other_run
from tests.messages import collected

HERE: dict[str, Any] = {"data": "never read", "mixed_precision": "no"}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The directory of a finished run whose objective was left to the labels."""
    config = resolve(RunConfig(**HERE, objective="cross_entropy"))
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text(config_as_yaml(config))
    return folder


def check(directory: Path, *, any_precision: bool = False, **changed: Any) -> list[str]:
    """Return the messages about settings without an effect."""
    config = resolve(RunConfig(**{**HERE, **changed}))
    with collected() as lines:
        check_finished(config, directory, {"rows_sha256": "not asked for"}, any_precision=any_precision)
    return lines


def test_same_command_finds_its_run(directory: Path) -> None:
    assert check(directory) == []


def test_setting_without_an_effect_is_reported(directory: Path) -> None:
    (line,) = check(directory, log_every=3)
    assert "log_every was 10, now 3" in line


def test_setting_with_an_effect_is_another_run(directory: Path) -> None:
    with pytest.raises(OtherRunError, match=r"lr was 0\.0001, now 0\.5.*--fork ") as caught:
        check(directory, lr=0.5)
    assert f"--fork {directory}" in str(caught.value)
    with pytest.raises(OtherRunError, match=r"objective was .*cross_entropy.*, now .*focal"):
        check(directory, objective="focal")


def test_precision_that_the_machine_chose_is_that_of_the_run(directory: Path) -> None:
    with pytest.raises(OtherRunError, match="mixed_precision was 'no', now 'bf16'"):
        check(directory, mixed_precision="bf16")
    assert check(directory, mixed_precision="bf16", any_precision=True) == []


def test_checkpoint_of_elsewhere_replaces_no_other_run(directory: Path, tmp_path: Path) -> None:
    def refuse(checkpoint: Path, where: Path = directory, **changed: Any) -> None:
        config = resolve(RunConfig(**{**HERE, **changed}))
        refuse_other_run(dataclasses.replace(config, resume=str(checkpoint)), where, any_precision=False)

    elsewhere = tmp_path / "other" / "checkpoints" / "step-00000004"
    with pytest.raises(OtherRunError, match=r"--resume .*step-00000004 .*seed was 0, now 1") as caught:
        refuse(elsewhere, seed=1)
    assert str(directory) in str(caught.value)
    refuse(elsewhere, where=tmp_path / "new", seed=1)
    refuse(directory / "checkpoints" / "step-00000004", seed=1)  # its own

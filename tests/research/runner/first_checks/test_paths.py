"""Files, folders, encoders and runs named in the settings must exist."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from research.runner.first_checks.check import check_first
from research.runner.first_checks.paths import check_paths, check_run_directory
from research.settings.command_line import merge_recipes
from research.settings.config import RunConfig
from research.settings.forks import parse_fork
from research.system.errors import is_user_facing
from tests.file_modes import enforce_file_modes


@pytest.mark.parametrize("name", ["data", "encoder", "init_from"])
# An unknown home directory, a path and a name that are too long, a byte that is not UTF-8 (\udce9), a folder that
# cannot be read, and a line break.
@pytest.mark.parametrize(
    "path", ["~nosuchuser/a", "./" + "x" * 5000, "./" + "a" * 300, "./caf\udce9.csv", "./locked/a.csv", "./two\nlines"]
)
def test_inaccessible_paths_are_rejected_with_a_one_line_error(
    name: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "locked").mkdir(mode=0)
    settings: dict[str, Any] = {name: path}
    with enforce_file_modes(), pytest.raises(ValueError, match=rf"--{name}|Cannot read '") as caught:
        check_first(RunConfig(**settings))
    assert is_user_facing(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "use_path",
    [
        lambda path: check_first(RunConfig(resume=path)),
        lambda path: check_first(RunConfig(plugin=[f"{path}.py"])),
        parse_fork,
        merge_recipes,
    ],
    ids=["resume", "plugin", "fork", "recipe"],
)
@pytest.mark.parametrize("path", ["x" * 5000, "locked/a"])
def test_inaccessible_checkpoints_plugins_runs_and_recipes_are_rejected(
    use_path: Callable[[str], object], path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "locked").mkdir(mode=0)
    with (
        enforce_file_modes(),
        pytest.raises(ValueError, match=rf"{os.strerror(errno.ENAMETOOLONG)}|{os.strerror(errno.EACCES)}"),
    ):
        use_path(path)


def test_existing_run_directory_is_rejected_only_for_training(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    config = RunConfig(output_dir=str(tmp_path))
    check_first(config)  # also called for --dry_run and --print_config
    with pytest.raises(ValueError, match=f"{tmp_path} exists"):
        check_run_directory(config)


def test_resumed_run_does_not_need_the_runs_that_it_started_from(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing-run")
    check_first(RunConfig(output_dir=str(tmp_path), resume="auto", init_from=missing, fork=missing))
    with pytest.raises(ValueError, match=missing):
        check_first(RunConfig(fork=missing))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"data": "a/b/c"}, "'a/b/c' for --data"),
        ({"data": "imbd"}, "'imbd' for --data.*'imdb'"),
        ({"encoder": "./nothing"}, "'nothing' for --encoder"),
        ({"init_from": "runs/nothing"}, "'runs/nothing' for --init_from"),
        ({"fork": "runs/nothing@4"}, "runs/nothing"),
        ({"resume": "runs/nothing"}, "runs/nothing"),
    ],
)
def test_missing_path_is_reported_with_its_setting(
    settings: dict[str, Any], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=expected):
        check_paths(RunConfig(**settings))


def test_data_and_encoders_from_the_hub_or_plugins_are_not_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    check_paths(RunConfig(data="hub:nobody/nothing", encoder="nobody/nothing"))
    check_paths(RunConfig(data="mine", plugin=["my_data.py"]))
    with pytest.raises(ValueError, match="'mine' for --data"):
        check_paths(RunConfig(data="mine"))
    with pytest.raises(ValueError, match=r"'mine\.csv' for --data"):
        check_paths(RunConfig(data="mine.csv", plugin=["my_data.py"]))


def test_check_run_directory_requires_a_known_directory_only_for_resume_auto(tmp_path: Path) -> None:
    check_run_directory(RunConfig(output_dir=str(tmp_path / "new")))
    check_run_directory(RunConfig())  # the default name changes with every run
    with pytest.raises(ValueError, match="--name or --output_dir"):
        check_run_directory(RunConfig(resume="auto"))

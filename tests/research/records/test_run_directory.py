"""The run directory is chosen from the settings, and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from research.records.run_directory import check_directory, run_directory
from research.settings.config import RunConfig
from research.settings.flags import names_where
from tests.file_modes import enforce_file_modes


def test_run_directory_depends_on_output_dir_then_name_then_settings_and_time() -> None:
    assert run_directory(RunConfig(output_dir="a/b", name="c")) == Path("a/b")
    assert run_directory(RunConfig(name="c")) == Path("runs/c")
    default = run_directory(RunConfig(head="lstm", data="some/reviews.csv", encoder="org/model"))
    assert default.parent == Path("runs")
    assert default.name.startswith("model-lstm-reviews-2")  # 2 is the first digit of the year


def test_default_name_is_a_valid_file_name() -> None:
    long_path = run_directory(RunConfig(data=f"{'x' * 250}.csv", encoder="y" * 250))
    assert len(long_path.name) < 200
    assert run_directory(RunConfig(data="two\nlines")).name.isprintable()


@pytest.mark.parametrize("name", ["x" * 300, "locked", "locked/a"])
@pytest.mark.parametrize("resume", [None, "auto"])
def test_inaccessible_directory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, resume: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "locked").mkdir(mode=0)
    with enforce_file_modes(), pytest.raises(ValueError, match=r"\b(x{9}|locked).*: (File name too|Permission)"):
        check_directory(Path(name), RunConfig(output_dir=name, resume=resume))


@pytest.mark.parametrize("name", [".config.yaml.writing", ".config.yaml-0123.writing"])
def test_overwrite_replaces_a_run_that_was_killed_before_it_wrote_its_settings(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    check_directory(tmp_path, RunConfig(overwrite=True))
    (tmp_path / name).rename(tmp_path / "other.writing")
    with pytest.raises(ValueError, match="does not contain a run"):
        check_directory(tmp_path, RunConfig(overwrite=True))


def test_overwrite_is_refused_if_it_would_delete_inputs_of_the_run_or_other_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = Path("runs/self")
    (run / "best").mkdir(parents=True)
    (run / "config.yaml").touch()
    (run / "plugin.py").touch()
    Path("link").symlink_to(run)
    (run / "elsewhere").symlink_to(tmp_path)
    cases: list[dict[str, Any]] = [
        {"fork": "runs/self@step-6"},
        {"fork": "link"},
        {"fork": f"{tmp_path}/runs/../runs/self"},
        {"init_from": "runs/self"},
        {"init_from": "link/best"},
        {"encoder": "./runs/self/best"},
        {"data": "runs/self/elsewhere"},
        {"plugin": ["runs/self/plugin.py"]},
    ]
    # `cases` must have every setting with a path that the run reads.
    assert {name for settings in cases for name in settings} == {
        *names_where(lambda declared: declared.input_path is not None)
    }
    for settings in cases:
        for directory in (run, Path("link"), tmp_path / run):
            (name,) = settings
            with pytest.raises(ValueError, match=rf"--overwrite .*--{name}\b"):
                check_directory(directory, RunConfig(**settings, overwrite=True))
    # The path of a different run may begin with the same characters.
    check_directory(run, RunConfig(overwrite=True, data="reviews.csv", init_from="runs/selfish"))
    check_directory(run, RunConfig(resume="auto", init_from="runs/self"))  # a resumed run deletes no weights
    (run / "child").mkdir()
    (run / "child" / "config.yaml").touch()
    with pytest.raises(ValueError, match=r"other runs\b.*runs/self/child"):
        check_directory(run, RunConfig(overwrite=True))

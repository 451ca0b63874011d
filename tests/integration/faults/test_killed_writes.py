"""Runs that are killed while they write results or empty a run directory can be resumed or repeated."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from research.records import run_directory
from research.system import durable
from research.system.manifest import MANIFEST
from tests.builders.faulty_runs import CallAt, InterruptedRunError, RunResults, Train, read_run_results


@pytest.mark.parametrize(
    "unwritten",
    [
        ("result.json",),
        ("result.json", "report.html"),
        ("result.json", "report.html", "predictions/validation.parquet", "predictions/test.parquet"),
        ("result.json", "report.html", "predictions", "model"),
    ],
    ids=["result", "report", "predictions", "model"],
)
def test_resume_writes_missing_results_again(
    train: Train, finished: Path, uninterrupted: RunResults, tmp_path: Path, unwritten: tuple[str, ...]
) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    kept_files = {name: (run / name).read_bytes() for name in ("model/model.safetensors", "predictions/test.parquet")}
    for name in unwritten:
        shutil.rmtree(run / name) if (run / name).is_dir() else (run / name).unlink()
    for name in ("result.json", "report.html"):
        (run / f".{name}.writing").write_text("{")
    resumed = CallAt()
    train(run, resumed, resume="auto", report=True)
    assert resumed.trained_steps == []
    assert read_run_results(run) == uninterrupted
    assert kept_files == {name: (run / name).read_bytes() for name in kept_files}
    assert "</html>" in (run / "report.html").read_text()
    assert not list(run.glob(".*"))


@pytest.mark.parametrize("source", ["cut_run", "finished"])
def test_partial_files_of_killed_runs_are_removed(
    train: Train, uninterrupted: RunResults, tmp_path: Path, request: pytest.FixtureRequest, source: str
) -> None:
    run = shutil.copytree(request.getfixturevalue(source), tmp_path / "run")
    (run / "result.json").unlink()
    checkpoint = run / "checkpoints" / "step-00000004"
    leftovers = [
        run / ".best.writing",
        run / ".model.replaced",
        checkpoint.with_name(".step-00000004.writing"),
        checkpoint.with_name(".step-00000002.removing"),
    ]
    for leftover in leftovers:
        shutil.copytree(checkpoint, leftover)
        (leftover / MANIFEST).unlink()
    train(run, CallAt(), resume="auto")
    assert read_run_results(run) == uninterrupted
    assert [path for path in leftovers if path.exists()] == []


@pytest.mark.parametrize(
    "leftover_files",
    [
        {"config.yaml": "seed: 7\n", "predictions/old.parquet": "old"},  # killed while the directory was emptied
        {"config.yaml": "seed: 7\n"},  # config.yaml is removed last
        {},
        {".config.yaml.writing": "seed"},  # killed while the new config.yaml was written
    ],
    ids=["partly emptied", "settings", "empty", "new settings"],
)
def test_killed_overwrite_can_be_repeated(
    train: Train, uninterrupted: RunResults, tmp_path: Path, leftover_files: dict[str, str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name, content in leftover_files.items():
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text(content)
    train(run, CallAt(), overwrite=True)
    assert read_run_results(run) == uninterrupted
    assert not (run / "predictions" / "old.parquet").exists()
    assert not list(run.glob(".*"))


@pytest.mark.parametrize("num_removed", [0, 3, -1], ids=["at the start", "in the middle", "before the last file"])
def test_overwrite_killed_while_it_empties_the_directory_can_be_repeated(
    train: Train, directory: Path, uninterrupted: RunResults, monkeypatch: pytest.MonkeyPatch, num_removed: int
) -> None:
    num_left = num_removed if num_removed >= 0 else len(list(directory.iterdir())) - 1

    def remove(path: Path) -> None:
        nonlocal num_left
        if num_left == 0:
            raise InterruptedRunError
        num_left -= 1
        durable.remove(path)

    with monkeypatch.context() as patch:
        patch.setattr(run_directory, "remove", remove)
        with pytest.raises(InterruptedRunError):
            train(directory, CallAt(), overwrite=True)
    train(directory, CallAt(), overwrite=True)
    assert read_run_results(directory) == uninterrupted


def test_killed_resume_from_another_directory_can_be_repeated(
    train: Train, directory: Path, uninterrupted: RunResults, tmp_path: Path
) -> None:
    # Files that hooks keep are copied into the new directory before its config.yaml is written.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copyfile(directory / "checkpoints" / "step-00000004" / "kept" / "metrics.jsonl", elsewhere / "metrics.jsonl")
    train(elsewhere, CallAt(), resume=str(directory / "checkpoints" / "step-00000004"))
    assert read_run_results(elsewhere) == uninterrupted

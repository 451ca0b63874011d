"""Runs that are killed while they write results or empty a run directory can be resumed or repeated.

A run that started with the hook `CallAt` must be resumed with it; `CallAt()` only records the trained steps.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from research.records import run_directory
from research.system import durable
from research.system.manifest import MANIFEST
from tests.builders.faulty_runs import CallAt, InterruptedRunError, RunResults, Train, read_run_results


@pytest.mark.parametrize(
    "missing_files",
    [
        ("result.json",),
        ("result.json", "report.html"),
        ("result.json", "report.html", "predictions/validation.parquet", "predictions/test.parquet"),
        ("result.json", "report.html", "predictions", "model"),
    ],
    ids=["result", "report", "predictions", "model"],
)
def test_resume_writes_missing_results_again(
    train: Train, finished_run: Path, uninterrupted_results: RunResults, tmp_path: Path, missing_files: tuple[str, ...]
) -> None:
    run = shutil.copytree(finished_run, tmp_path / "run")
    contents_before = {
        name: (run / name).read_bytes() for name in ("model/model.safetensors", "predictions/test.parquet")
    }
    for name in missing_files:
        shutil.rmtree(run / name) if (run / name).is_dir() else (run / name).unlink()
    for name in ("result.json", "report.html"):
        (run / f".{name}.writing").write_text("{")
    resumed = CallAt()
    train(run, resumed, resume="auto", report=True)
    assert resumed.trained_steps == []
    assert read_run_results(run) == uninterrupted_results
    assert contents_before == {name: (run / name).read_bytes() for name in contents_before}
    assert "</html>" in (run / "report.html").read_text()
    assert not list(run.glob(".*"))


@pytest.mark.parametrize("fixture_name", ["interrupted_run", "finished_run"])
def test_leftovers_of_killed_runs_are_removed(
    train: Train, uninterrupted_results: RunResults, tmp_path: Path, request: pytest.FixtureRequest, fixture_name: str
) -> None:
    run = shutil.copytree(request.getfixturevalue(fixture_name), tmp_path / "run")
    (run / "result.json").unlink()  # a killed run has none; the interrupted run recorded its error in it
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
    assert read_run_results(run) == uninterrupted_results
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
def test_overwrite_succeeds_in_a_directory_that_a_killed_overwrite_left(
    train: Train, uninterrupted_results: RunResults, tmp_path: Path, leftover_files: dict[str, str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name, content in leftover_files.items():
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text(content)
    train(run, CallAt(), overwrite=True)
    assert read_run_results(run) == uninterrupted_results
    assert not (run / "predictions" / "old.parquet").exists()
    assert not list(run.glob(".*"))


# -1 stands for all removals except the last.
@pytest.mark.parametrize("num_removals", [0, 3, -1], ids=["at the start", "in the middle", "before the last file"])
def test_overwrite_killed_while_it_empties_the_directory_can_be_repeated(
    train: Train,
    interrupted_copy: Path,
    uninterrupted_results: RunResults,
    monkeypatch: pytest.MonkeyPatch,
    num_removals: int,
) -> None:
    num_removals_left = num_removals if num_removals >= 0 else len(list(interrupted_copy.iterdir())) - 1

    def remove_or_interrupt(path: Path) -> None:
        nonlocal num_removals_left
        if num_removals_left == 0:
            raise InterruptedRunError
        num_removals_left -= 1
        durable.remove(path)

    with monkeypatch.context() as patch:
        patch.setattr(run_directory, "remove", remove_or_interrupt)
        with pytest.raises(InterruptedRunError):
            train(interrupted_copy, CallAt(), overwrite=True)
    train(interrupted_copy, CallAt(), overwrite=True)
    assert read_run_results(interrupted_copy) == uninterrupted_results


def test_killed_resume_in_another_directory_can_be_repeated(
    train: Train, interrupted_copy: Path, uninterrupted_results: RunResults, tmp_path: Path
) -> None:
    # A killed resume may leave files without a config.yaml, since the checkpoint's kept files are copied first.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copyfile(
        interrupted_copy / "checkpoints" / "step-00000004" / "kept" / "metrics.jsonl", elsewhere / "metrics.jsonl"
    )
    train(elsewhere, CallAt(), resume=str(interrupted_copy / "checkpoints" / "step-00000004"))
    assert read_run_results(elsewhere) == uninterrupted_results

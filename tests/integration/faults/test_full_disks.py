"""Runs on full and read-only disks end with a one-line error or go on, and can be resumed.

A run that started with the hook `CallAt` must be resumed with it; `CallAt()` only records the trained steps.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from research import Hook
from research.studies.storage.database import local_address
from research.studies.storage.study import Study
from research.system.manifest import find_damage
from research.training.api import Run
from tests.builders.faulty_runs import (
    CallAt,
    RunResults,
    Train,
    checkpoint_names,
    expect_user_error,
    files_under,
    read_run_results,
)
from tests.builders.run_files import result_of
from tests.conftest import Launch
from tests.integration.conftest import Disk

NO_ROOM = re.compile(r"Cannot write \S+: .+ \([\d.,]+ [kM]B needed, [\d.,]+ [kM]B free\)\.")


def test_command_ends_with_a_one_line_error_on_a_full_disk_and_can_be_resumed(
    launch: Launch, train: Train, flags: list[str], finished_run: Path, uninterrupted_results: RunResults, disk: Disk
) -> None:
    # A save starts only if the disk has room for the tensors and 1 MiB: the first checkpoint fits, the second does not.
    checkpoint_size = sum(path.stat().st_size for path in (finished_run / "checkpoints" / "step-00000004").rglob("*.*"))
    disk.remount(f"size={2**20 + int(1.5 * checkpoint_size)}")
    run = disk.path / "run"
    done = launch([*flags, "--output_dir", run], check=False)
    assert done.returncode == 1
    assert NO_ROOM.fullmatch(done.stderr.removeprefix("error: ").strip()), done.stderr
    assert done.stderr.count("\n") == 1
    result = result_of(run)
    assert result["status"] == "failed"
    assert NO_ROOM.search(str(result["error"]))
    assert checkpoint_names(run) == ["step-00000002"], "an unfinished checkpoint is still there"
    assert find_damage(run / "checkpoints" / "step-00000002") is None
    disk.remount("size=8m")
    train(run, resume="auto")
    assert read_run_results(run) == uninterrupted_results


# The ids name the file that is cut short if only `leave` bytes are free while a checkpoint is written. torch fails in a
# different way if a file is so small that it is written only when it is closed ("small hooks file").
@pytest.mark.parametrize(
    ("hook", "leave"),
    [([], 0), (["ema"], 0), (["ema"], 16_384), (["ema"], 131_072), (["ema"], 262_144)],
    ids=["small hooks file", "hooks file", "model file", "optimizer file", "end of the optimizer file"],
)
def test_disk_that_fills_during_a_save_leaves_the_previous_checkpoint(
    train: Train, uninterrupted_results: RunResults, disk: Disk, tmp_path: Path, hook: list[str], leave: int
) -> None:
    run = disk.path / "run"
    # Without TensorBoard, whose thread would use the last bytes at unpredictable times.
    settings = {"hook": hook, "log_with": []}
    line = expect_user_error(train, run, CallAt("writing", 4, lambda: disk.fill(leave)), **settings)
    assert NO_ROOM.fullmatch(line), line
    assert line.startswith(f"Cannot write {run / 'checkpoints' / 'step-00000004'}: ")
    assert checkpoint_names(run) == ["step-00000002"], "an unfinished checkpoint is still there"
    assert find_damage(run / "checkpoints" / "step-00000002") is None
    assert result_of(run)["status"] == "failed"
    disk.clear()
    recorder = CallAt()
    train(run, recorder, resume="auto", **settings)
    assert recorder.trained_steps == [3, 4, 5, 6]
    if not hook:  # `uninterrupted_results` are those of a run with the hook ema
        train(tmp_path / "uninterrupted", CallAt(), **settings)
        uninterrupted_results = read_run_results(tmp_path / "uninterrupted")
    assert read_run_results(run) == uninterrupted_results


@pytest.mark.parametrize("moment", ["after_step", "writing"])
def test_run_with_on_save_error_continue_survives_a_full_disk(
    train: Train, uninterrupted_results: RunResults, disk: Disk, capsys: pytest.CaptureFixture[str], moment: str
) -> None:
    run = disk.path / "run"
    # A checkpoint of step 4 does not fit: the disk fills while it is written, or has too little room from the start.
    fill_disk = CallAt(moment, 4, lambda: disk.fill(131_072 if moment == "writing" else 655_360))
    checkpoints_at_end: list[str] = []

    class FreesDisk(Hook):
        def on_train_end(self, run: Run) -> None:
            checkpoints_at_end.extend(checkpoint_names(run.directory))
            disk.clear()

    train(run, fill_disk, FreesDisk(), on_save_error="continue")
    assert checkpoints_at_end == ["step-00000002"]
    messages = [line for line in capsys.readouterr().out.splitlines() if 'on_save_error="continue"' in line]
    assert len(messages) == 2, "one for step 4, one for step 6"
    assert all(NO_ROOM.match(line) for line in messages)
    assert read_run_results(run) == uninterrupted_results


@pytest.mark.parametrize("log_with", [["tensorboard"], []], ids=["tensorboard", "no tracker"])
@pytest.mark.parametrize(("moment", "step"), [("after_step", 3), ("on_train_end", 6), ("test", 6)])
def test_run_without_a_free_byte_ends_with_a_one_line_error_and_can_be_resumed(
    train: Train, uninterrupted_results: RunResults, disk: Disk, log_with: list[str], moment: str, step: int
) -> None:
    # After step 3, a checkpoint or metrics.jsonl does not fit; at the end of training, the model; and before the
    # evaluation of the test split, the predictions.
    run = disk.path / "run"
    line = expect_user_error(train, run, CallAt(moment, step, lambda: disk.fill(0)), log_with=log_with)
    assert NO_ROOM.fullmatch(line), line
    disk.clear()
    train(run, CallAt(), log_with=log_with, resume="auto")
    assert read_run_results(run) == uninterrupted_results


@pytest.mark.parametrize(
    ("moment", "step", "unwritten_file"),
    # Step 0 means any step. After the last evaluation, of the test rows, the first file written is the predictions of
    # validation.
    [("after_step", 3, "metrics.jsonl"), ("on_train_end", 0, "model"), ("test", 0, "predictions/validation.parquet")],
)
def test_error_about_full_disk_names_the_unwritten_file(
    train: Train, disk: Disk, moment: str, step: int, unwritten_file: str
) -> None:
    # When the run records its failure, result.json cannot be written either; the error must not name that file.
    run = disk.path / "run"
    # With these settings, metrics.jsonl outgrows its first page of memory on this disk, and no other file is written
    # during training.
    settings: dict[str, Any] = {"epochs": 2.0, "save_every": None, "best_metric": None, "log_with": []}
    line = expect_user_error(train, run, CallAt(moment, step, lambda: disk.fill(0)), **settings)
    assert line.startswith(f"Cannot write {run / unwritten_file}: "), line
    assert not list(run.glob(".*.writing")), "a partial file is left on the full disk"


FILLING_PLUGIN = """
import contextlib, os, sys
from research.hooks import Hook, register_hook

@register_hook("fill_disk")
class FillDisk(Hook):
    '''On process 1, fill the disk while the checkpoint of step 4 is written; free it at the end of training.'''

    is_full, filler = False, "DISK/filler"

    def on_train_start(self, run):
        sys.addaudithook(self._fill)

    def _fill(self, event, arguments):
        first_file = ".step-00000004.writing/process-1.json"
        if event == "open" and str(arguments[0]).endswith(first_file) and not self.is_full:
            self.is_full = True
            # Page by page, since the other process is writing too.
            with open(self.filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(bytes(4096))

    def on_train_end(self, run):
        if run.accelerator.process_index == 1:
            os.unlink(self.filler)
        run.accelerator.wait_for_everyone()
"""


@pytest.mark.parametrize("in_background", ["false", "true"])
def test_checkpoint_that_one_of_two_processes_cannot_write_is_removed(
    launch: Launch,
    flags: list[str],
    finished_run_of_two_processes: Path,
    disk: Disk,
    tmp_path: Path,
    in_background: str,
) -> None:
    (tmp_path / "filling.py").write_text(FILLING_PLUGIN.replace("DISK", str(disk.path)))
    plugin = [f"--plugin={tmp_path / 'filling.py'}", "--hook=fill_disk", "--log_with=[]", "--on_save_error=continue"]
    plugin.append(f"--save_in_background={in_background}")
    done = launch([*flags, *plugin, "--output_dir", disk.path / "run"], num_processes=2)
    messages = [line for line in done.stdout.splitlines() if "--on_save_error continue" in line]
    assert len(messages) == 2, "one for step 4, one for step 6"
    assert all(NO_ROOM.match(line) for line in messages)
    assert checkpoint_names(disk.path / "run") == ["step-00000002"]
    assert find_damage(disk.path / "run" / "checkpoints" / "step-00000002") is None
    assert read_run_results(disk.path / "run") == read_run_results(finished_run_of_two_processes)


@pytest.mark.parametrize("changed", [{}, {"resume": "auto"}, {"overwrite": True}], ids=["new", "resume", "overwrite"])
def test_read_only_directory_causes_a_one_line_error_and_stays_unchanged(
    train: Train, interrupted_run: Path, disk: Disk, changed: dict[str, Any]
) -> None:
    if changed:
        shutil.copytree(interrupted_run, disk.path / "run")
    disk.remount("ro")
    files_before = files_under(disk.path)
    line = expect_user_error(train, disk.path / "run", CallAt(), **changed)
    assert f"{disk.path / 'run'}: {os.strerror(errno.EROFS)}" in line
    assert files_under(disk.path) == files_before


def test_disk_that_becomes_read_only_during_a_run_causes_a_one_line_error(
    train: Train, uninterrupted_results: RunResults, disk: Disk
) -> None:
    # Linux remounts a file system read-only when its disk fails.
    run = disk.path / "run"
    line = expect_user_error(train, run, CallAt("after_step", 3, lambda: disk.remount("ro")), log_with=[])
    assert re.search(rf"{re.escape(str(run))}\S+: {os.strerror(errno.EROFS)} ", line), line
    disk.remount("rw")
    train(run, CallAt(), resume="auto", log_with=[])
    assert read_run_results(run) == uninterrupted_results


# The head trains in the process of the worker, which is that of the study; the whole model in a process of its own.
@pytest.mark.parametrize(("freeze", "workers"), [(["--freeze", "encoder"], 1), ([], 2)], ids=["one process", "workers"])
def test_study_stops_on_a_full_disk_without_failed_trials_and_can_be_continued(
    launch: Launch, flags: list[str], disk: Disk, freeze: list[str], workers: int
) -> None:
    disk.remount("size=64m")
    study = disk.path / "study"
    arguments: list[object] = [*flags, *freeze, "--heads", "linear,mean", "--max_steps", "3", "--log_with", "[]"]
    arguments += ["--evaluate_every", "null", "--workers", workers, "--output_dir", study]
    launch([*arguments, "--seeds", "0"], script="ablate.py")
    disk.fill(leave=2**20 // 2)
    arguments += ["--seeds", "0,1"]
    done = launch(arguments, script="ablate.py", check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert re.match(r"error: Cannot write \S+: .* free\)\. The study stops here", line), done.stderr
    with Study("study", local_address(study)) as storage:
        assert {entry.status for entry in storage.entries().values()} == {"finished", "waiting"}
    disk.clear()
    done = launch(arguments, script="ablate.py")
    assert "4 trials: 2 finished, 2 to do" in done.stdout
    with Study("study", local_address(study)) as storage:
        assert [entry.status for entry in storage.entries().values()] == ["finished"] * 4

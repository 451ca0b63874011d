"""Disks that are full or cannot be written to."""

from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from research import Hook
from research.system.manifest import find_damage
from research.training.api import Run
from tests.builders.faulty_runs import At, Bits, Train, bits_of, checkpoints_of, files_under, refusal_of
from tests.builders.run_files import result_of
from tests.conftest import Launch
from tests.integration.conftest import Disk

NO_ROOM = re.compile(r"Cannot write \S+: .+ \([\d.,]+ [kM]B needed, [\d.,]+ [kM]B free\)\.")


def test_full_disk_on_the_command_line_is_one_line_and_resumable(
    launch: Launch, train: Train, flags: list[str], finished: Path, whole: Bits, disk: Disk
) -> None:
    # A checkpoint is begun only where there is room for its tensors and 1 MiB: the first one fits, the second does not.
    one = sum(path.stat().st_size for path in (finished / "checkpoints" / "step-00000004").rglob("*.*"))
    disk.remount(f"size={2**20 + int(1.5 * one)}")
    run = disk.path / "run"
    done = launch([*flags, "--output_dir", run], check=False)
    assert done.returncode == 1
    assert NO_ROOM.fullmatch(done.stderr.removeprefix("error: ").strip()), done.stderr
    assert done.stderr.count("\n") == 1
    result = result_of(run)
    assert result["status"] == "failed"
    assert NO_ROOM.search(str(result["error"]))
    assert checkpoints_of(run) == ["step-00000002"], "what was begun is still there"
    assert find_damage(run / "checkpoints" / "step-00000002") is None
    disk.remount("size=8m")
    train(run, resume="auto")
    assert bits_of(run) == whole


# Bytes that other programs leave free while a checkpoint is written, by what is then cut short. torch fails in another
# way where a file is so small that it reaches the disk only when it is closed.
@pytest.mark.parametrize(
    ("hook", "leave"),
    [([], 0), (["ema"], 0), (["ema"], 16_384), (["ema"], 131_072), (["ema"], 262_144)],
    ids=["small hooks", "hooks", "model", "optimizer", "optimizer's end"],
)
def test_disk_that_fills_while_a_checkpoint_is_written_leaves_the_one_before(
    train: Train, whole: Bits, disk: Disk, tmp_path: Path, hook: list[str], leave: int
) -> None:
    run = disk.path / "run"
    # Without TensorBoard, whose thread would take the last bytes at times of its own.
    settings = {"hook": hook, "log_with": []}
    line = refusal_of(train, run, At("writing", 4, lambda: disk.fill(leave)), **settings)
    assert NO_ROOM.fullmatch(line), line
    assert line.startswith(f"Cannot write {run / 'checkpoints' / 'step-00000004'}: ")
    assert checkpoints_of(run) == ["step-00000002"], "what was begun is still there"
    assert find_damage(run / "checkpoints" / "step-00000002") is None
    assert result_of(run)["status"] == "failed"
    disk.clear()
    resumed = At()
    train(run, resumed, resume="auto", **settings)
    assert resumed.trained == [3, 4, 5, 6]
    if not hook:
        train(tmp_path / "whole", At(), **settings)
        whole = bits_of(tmp_path / "whole")
    assert bits_of(run) == whole


@pytest.mark.parametrize("moment", ["after_step", "writing"])
def test_full_disk_does_not_end_a_run_that_is_to_continue(
    train: Train, whole: Bits, disk: Disk, capsys: pytest.CaptureFixture[str], moment: str
) -> None:
    run = disk.path / "run"
    full = At(moment, 4, lambda: disk.fill(131_072 if moment == "writing" else 655_360))
    freed: list[str] = []

    class Frees(Hook):
        def on_train_end(self, run: Run) -> None:
            freed.extend(checkpoints_of(run.directory))
            disk.clear()

    train(run, full, Frees(), on_save_error="continue")
    assert freed == ["step-00000002"]
    messages = [line for line in capsys.readouterr().out.splitlines() if "--on_save_error continue" in line]
    assert len(messages) == 2, "one for step 4, one for step 6"
    assert all(NO_ROOM.match(line) for line in messages)
    assert bits_of(run) == whole


@pytest.mark.parametrize("log_with", [["tensorboard"], []], ids=["tensorboard", "no tracker"])
@pytest.mark.parametrize(("moment", "step"), [("after_step", 3), ("on_train_end", 6), ("test", 6)])
def test_disk_without_a_free_byte_is_one_line_and_resumable(
    train: Train, whole: Bits, disk: Disk, log_with: list[str], moment: str, step: int
) -> None:
    # What does not fit is the next checkpoint or a line of metrics.jsonl; the model; the predictions.
    run = disk.path / "run"
    line = refusal_of(train, run, At(moment, step, lambda: disk.fill(0)), log_with=log_with)
    assert NO_ROOM.fullmatch(line), line
    disk.clear()
    train(run, At(), log_with=log_with, resume="auto")
    assert bits_of(run) == whole


@pytest.mark.parametrize(
    ("moment", "step", "unwritten"),
    [("after_step", 3, "metrics.jsonl"), ("on_train_end", 0, "model"), ("test", 0, "predictions/validation.parquet")],
)
def test_full_disk_names_what_could_not_be_written(
    train: Train, disk: Disk, moment: str, step: int, unwritten: str
) -> None:
    # Not result.json, which is only where the run wants to write down that it failed.
    run = disk.path / "run"
    # Enough lines for more than the page that metrics.jsonl has already, and nothing else that could be written.
    settings: dict[str, Any] = {"epochs": 2.0, "save_every": None, "best_metric": None, "log_with": []}
    line = refusal_of(train, run, At(moment, step, lambda: disk.fill(0)), **settings)
    assert line.startswith(f"Cannot write {run / unwritten}: "), line
    assert not list(run.glob(".*.writing")), "half a file is left on a disk that is full"


FILLING_PLUGIN = """
import contextlib, os
from research.hooks import Hook, register_hook

@register_hook("fill_disk")
class FillDisk(Hook):
    asked, run, filler = 0, None, "DISK/filler"

    def on_train_start(self, run):
        self.run = run

    def state_dict(self):
        # As above: the second time in a step, the writing has begun.
        if self.run is not None and self.run.clock.step == 4 and self.run.accelerator.process_index == 1:
            self.asked += 1
            if self.asked == 2:
                # Page by page, since the other process is writing as well.
                with open(self.filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(4096))
        return {}

    def on_train_end(self, run):
        if run.accelerator.process_index == 1:
            os.unlink(self.filler)
        run.accelerator.wait_for_everyone()
"""


def test_checkpoint_that_one_process_cannot_write_is_none_for_all(
    launch: Launch, flags: list[str], finished_by_two: Path, disk: Disk, tmp_path: Path
) -> None:
    (tmp_path / "filling.py").write_text(FILLING_PLUGIN.replace("DISK", str(disk.path)))
    plugin = [f"--plugin={tmp_path / 'filling.py'}", "--hook=fill_disk", "--log_with=[]", "--on_save_error=continue"]
    done = launch([*flags, *plugin, "--output_dir", disk.path / "run"], num_processes=2)
    messages = [line for line in done.stdout.splitlines() if "--on_save_error continue" in line]
    assert len(messages) == 2, "one for step 4, one for step 6"
    assert all(NO_ROOM.match(line) for line in messages)
    assert checkpoints_of(disk.path / "run") == ["step-00000002"]
    assert find_damage(disk.path / "run" / "checkpoints" / "step-00000002") is None
    assert bits_of(disk.path / "run") == bits_of(finished_by_two)


@pytest.mark.parametrize("options", [[], ["--resume=auto"], ["--overwrite"]], ids=["new", "resume", "overwrite"])
def test_read_only_directory_is_one_line_and_nothing_is_written(
    train: Train, cut_run: Path, disk: Disk, options: list[str]
) -> None:
    if options:
        shutil.copytree(cut_run, disk.path / "run")
    disk.remount("ro")
    before = files_under(disk.path)
    changed = {"resume": "auto"} if "--resume=auto" in options else {"overwrite": "--overwrite" in options}
    line = refusal_of(train, disk.path / "run", At(), **changed)
    assert f"{disk.path / 'run'}: {os.strerror(errno.EROFS)}" in line
    assert files_under(disk.path) == before


def test_disk_that_becomes_read_only_in_mid_run_is_one_line(train: Train, whole: Bits, disk: Disk) -> None:
    # Linux remounts a file system so when its disk fails.
    run = disk.path / "run"
    line = refusal_of(train, run, At("after_step", 3, lambda: disk.remount("ro")), log_with=[])
    assert re.search(rf"{re.escape(str(run))}\S+: {os.strerror(errno.EROFS)} ", line), line
    disk.remount("rw")
    train(run, At(), resume="auto", log_with=[])
    assert bits_of(run) == whole

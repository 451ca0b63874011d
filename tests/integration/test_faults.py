"""What goes wrong around a run: disks, damage, clocks, neighbours. A resumed run ends as if nothing had happened.

Runs that are only cut and resumed are made in this process; where exit status, standard error, signals or several
processes count, the real command line is used.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from research import Hook, RunConfig, run_experiment
from research.records import run_directory
from research.system import durable
from research.system.errors import is_for_the_user
from research.system.manifest import MANIFEST, find_damage
from research.training.accelerator import default_num_threads
from research.training.api import Run
from research.training.run import TrainingRun
from tests.conftest import ROOT, Launch, Start, Started
from tests.integration.conftest import Disk
from tests.integration.test_main_job import lines_of, result_of, without_times

Train = Callable[..., dict[str, Any]]
Change = Callable[[Path], object]
SHORT: dict[str, Any] = {
    "max_length": 32,
    "batch_size": 8,
    "log_every": 1,
    "mixed_precision": "no",
    "num_threads": 1,
    "report": False,
    "save_every": "2st",
    # An average of the weights and a best model: states of hooks, and files that checkpoints keep.
    "hook": ["ema"],
    "evaluate_every": "1st",
    "best_metric": "loss",
}
"""Six steps, with checkpoints after steps 2, 4 and 6."""


@dataclass(frozen=True)
class Bits:
    """What must be the same of a run after any fault."""

    weights_sha256: object
    metrics: object
    lines: list[dict[str, float]]
    predictions: dict[str, dict[str, list[Any]]]


def bits_of(directory: Path) -> Bits:
    result = result_of(directory)
    assert result["status"] == "finished"
    predictions = {
        split: pq.read_table(directory / "predictions" / f"{split}.parquet") for split in ("validation", "test")
    }
    return Bits(
        result["weights_sha256"],
        result["metrics"],
        without_times(lines_of(directory)),
        {split: table.to_pydict() for split, table in predictions.items()},
    )


def checkpoints_of(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / "checkpoints").iterdir())


def files_under(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class At(Hook):
    """Do something at one moment of a run, and remember which steps were trained.

    A hook of a class that a checkpoint does not know would be refused, so every run in this process has this one.
    """

    def __init__(self, moment: str = "", step: int = 0, action: Callable[[], object] = lambda: None) -> None:
        self.moment, self.step, self.action = moment, step, action
        self.run: TrainingRun | None = None
        self.trained: list[int] = []
        self.asked: list[int] = []

    def on_train_start(self, run: Run) -> None:
        assert isinstance(run, TrainingRun)
        self.run = run

    def on_resume(self, run: Run) -> None:
        assert isinstance(run, TrainingRun)
        self.run = run

    def after_step(self, run: Run) -> None:
        self.trained.append(run.clock.step)
        self._act("after_step")

    def on_train_end(self, run: Run) -> None:
        self._act("on_train_end")

    def before_evaluate(self, run: Run, split: str) -> None:
        if split == "test":
            self._act("test")

    def state_dict(self) -> dict[str, Any]:
        # Asked once how much room a checkpoint takes, and once more when that was found and the writing has begun.
        if self.run is not None:
            self.asked.append(self.run.clock.step)
            if self.asked.count(self.step) == 2:
                self._act("writing")
        return {}

    def _act(self, moment: str) -> None:
        assert self.run is not None
        if moment == self.moment and self.step in (0, self.run.clock.step):
            self.action()


class CutError(Exception):
    """What cuts a run here."""


def cut() -> None:
    raise CutError


@pytest.fixture(scope="module")
def settings(tiny_encoder: Path, tiny_reviews: Path) -> dict[str, Any]:
    return {"encoder": str(tiny_encoder), "data": str(tiny_reviews), **SHORT}


@pytest.fixture(scope="module")
def flags(settings: dict[str, Any]) -> list[str]:
    """The same settings as a user types them."""
    return [f"--{name}={','.join(value) if isinstance(value, list) else value}" for name, value in settings.items()]


@pytest.fixture(scope="module")
def train(settings: dict[str, Any], cache_dir: Path) -> Iterator[Train]:
    """`train(directory, At(...), resume="auto")` makes a run in this process."""

    def run(directory: Path, *hooks: Hook, **changed: Any) -> dict[str, Any]:
        return run_experiment(RunConfig(**{**settings, "output_dir": str(directory), **changed}), hooks=hooks)

    num_threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))
        yield run
    torch.set_num_threads(num_threads)


@pytest.fixture(scope="module")
def finished(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run without any fault. Tests change copies of it."""
    directory = tmp_path_factory.mktemp("finished") / "run"
    train(directory, At(), report=True)
    return directory


@pytest.fixture(scope="module")
def whole(finished: Path) -> Bits:
    """What a run without any fault leaves."""
    return bits_of(finished)


@pytest.fixture(scope="module")
def finished_by_two(launch: Launch, flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of two processes."""
    directory = tmp_path_factory.mktemp("finished_by_two") / "run"
    launch([*flags, "--output_dir", directory], num_processes=2)
    return directory


@pytest.fixture(scope="module")
def cut_run(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run that was cut in step 5. Tests change copies of it."""
    directory = tmp_path_factory.mktemp("cut") / "run"
    with pytest.raises(CutError):
        train(directory, At("after_step", 5, cut))
    assert checkpoints_of(directory) == ["step-00000002", "step-00000004"]
    return directory


@pytest.fixture
def directory(cut_run: Path, tmp_path: Path) -> Path:
    """A copy of the cut run."""
    return shutil.copytree(cut_run, tmp_path / "run")


def refusal_of(train: Train, *arguments: Any, **changed: Any) -> str:
    """Return the one line with which a run ends."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the callers look at the message)
        train(*arguments, **changed)
    assert is_for_the_user(caught.value), "a traceback would be shown"
    assert "\n" not in str(caught.value)
    return str(caught.value)


# A full disk.

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


# A disk that nothing can be written to.


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


# A damaged checkpoint.


def truncate(name: str) -> Change:
    def change(checkpoint: Path) -> None:
        content = (checkpoint / name).read_bytes()
        (checkpoint / name).write_bytes(content[: len(content) // 2])

    return change


def flip(name: str) -> Change:
    def change(checkpoint: Path) -> None:
        content = bytearray((checkpoint / name).read_bytes())
        content[len(content) // 2] ^= 1
        (checkpoint / name).write_bytes(content)

    return change


def delete(name: str) -> Change:
    return lambda checkpoint: (checkpoint / name).unlink()


def rewrite(name: str, content: bytes) -> Change:
    return lambda checkpoint: (checkpoint / name).write_bytes(content)


def empty(checkpoint: Path) -> None:
    shutil.rmtree(checkpoint)
    checkpoint.mkdir()


def other_format(checkpoint: Path) -> None:
    manifest = json.loads((checkpoint / MANIFEST).read_text())
    (checkpoint / MANIFEST).write_text(json.dumps({**manifest, "format": 1000}))


DAMAGES: dict[str, tuple[Change, str]] = {
    "truncated weights": (truncate("model.safetensors"), r"model\.safetensors has [\d,]+ bytes instead of [\d,]+"),
    "truncated log": (truncate("kept/metrics.jsonl"), r"kept/metrics\.jsonl has [\d,]+ bytes instead of [\d,]+"),
    "flipped bit of a weight": (flip("model.safetensors"), r"model\.safetensors is not what was written"),
    "flipped bit of the optimizer": (flip("optimizer.pt"), r"optimizer\.pt is not what was written"),
    "flipped bit of the best model": (flip("kept/best/model.safetensors"), r"kept/best/model\.safetensors is not what"),
    "no weights": (delete("model.safetensors"), r"model\.safetensors is missing"),
    "no state": (delete("state.json"), r"state\.json is missing"),
    "no states of hooks": (delete("hooks-0.pt"), r"hooks-0\.pt is missing"),
    "no random states": (delete("random-0.pt"), r"random-0\.pt is missing"),
    "no manifest": (delete(MANIFEST), r"its manifest cannot be read \(No such file or directory\)"),
    "truncated manifest": (truncate(MANIFEST), "its manifest is damaged"),
    # What some file systems leave of a file after a power cut.
    "manifest of zeros": (rewrite(MANIFEST, bytes(500)), "its manifest is damaged"),
    "empty manifest": (rewrite(MANIFEST, b""), "its manifest is damaged"),
    "manifest of another kind": (rewrite(MANIFEST, b"[]"), "its manifest is damaged"),
    "no files": (empty, "its manifest cannot be read"),
    "another format": (other_format, "it has format 1000, this version reads"),
}


@pytest.mark.parametrize(("damage", "reason"), DAMAGES.values(), ids=DAMAGES.keys())
def test_damaged_newest_checkpoint_is_skipped_for_the_one_before(
    train: Train, directory: Path, whole: Bits, capsys: pytest.CaptureFixture[str], damage: Change, reason: str
) -> None:
    newest = directory / "checkpoints" / "step-00000004"
    damage(newest)
    resumed = At()
    train(directory, resumed, resume="auto")
    assert re.search(rf"{newest}: {reason}", capsys.readouterr().out)
    assert result_of(directory)["resumed_from"] == "step-00000002"
    assert resumed.trained == [3, 4, 5, 6]
    assert bits_of(directory) == whole


def test_run_whose_checkpoints_are_all_damaged_starts_afresh(
    train: Train, directory: Path, whole: Bits, capsys: pytest.CaptureFixture[str]
) -> None:
    delete("random-0.pt")(directory / "checkpoints" / "step-00000002")
    truncate("optimizer.pt")(directory / "checkpoints" / "step-00000004")
    again = At()
    train(directory, again, resume="auto")
    printed = capsys.readouterr().out
    assert re.search("step-00000004: .*optimizer.pt", printed)
    assert re.search("step-00000002: .*random-0.pt", printed)
    assert result_of(directory)["resumed_from"] is None
    assert again.trained == [1, 2, 3, 4, 5, 6]
    assert bits_of(directory) == whole


def test_checkpoint_without_the_file_of_one_process_is_skipped_by_all(
    launch: Launch, flags: list[str], finished_by_two: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(finished_by_two, tmp_path / "run")
    (run / "result.json").unlink()
    newest = run / "checkpoints" / "step-00000006"
    (newest / "random-1.pt").unlink()
    done = launch([*flags, "--output_dir", run, "--resume", "auto"], num_processes=2)
    assert f"{newest}: random-1.pt" in done.stdout
    assert result_of(run)["resumed_from"] == "step-00000004"
    assert bits_of(run) == bits_of(finished_by_two)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (other_format, r": it has format 1000, this version reads \d+\.$"),
        (flip("optimizer.pt"), r": optimizer\.pt is not what was written\.$"),
        (delete(MANIFEST), " is no checkpoint. One is a folder such as "),
    ],
)
def test_damaged_checkpoint_that_is_named_is_refused(
    train: Train, directory: Path, tmp_path: Path, damage: Change, reason: str
) -> None:
    # Taking another one instead would not be what was asked for.
    checkpoint = directory / "checkpoints" / "step-00000004"
    damage(checkpoint)
    line = refusal_of(train, tmp_path / "elsewhere", At(), resume=str(checkpoint))
    assert str(checkpoint) in line
    assert re.search(reason, line), line
    assert not (tmp_path / "elsewhere").exists()


# A clock that goes backwards.


def test_clock_that_went_backwards_does_not_change_which_checkpoint_is_newest(
    train: Train,
    directory: Path,
    whole: Bits,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = time.time()
    for age, name in ((1_000, "step-00000002"), (2_000, "step-00000004")):
        checkpoint = directory / "checkpoints" / name
        for path in (*checkpoint.rglob("*"), checkpoint):
            os.utime(path, (now - age, now - age))
    real, ten_years = time.time, 10 * 365 * 86_400.0
    monkeypatch.setattr(time, "time", lambda: real() - ten_years)
    resumed = At()
    train(directory, resumed, resume="auto")
    assert result_of(directory)["resumed_from"] == "step-00000004"
    assert resumed.trained == [5, 6]
    assert bits_of(directory) == whole
    assert checkpoints_of(directory) == ["step-00000004", "step-00000006"], "the oldest by step goes, not by date"


# A second run in the same directory.


@pytest.fixture
def held(start: Start, flags: list[str], tmp_path: Path) -> tuple[Started, list[str], Path]:
    """A run on the command line that waits in step 3, its command, and the file that lets it go on."""
    hold = tmp_path / "hold"
    hold.mkdir()
    plugin = [f"--plugin={(ROOT / 'tests' / 'plugins' / 'hold_at_step.py')}", "--hook=hold"]
    command = [*flags, *plugin, f"--output_dir={tmp_path / 'run'}"]
    first = start(command, environment={"HOLD": str(hold)})
    first.wait_for("step 3", (hold / "held-0").exists)
    return first, command, hold / "go"


def test_second_run_in_the_same_directory_is_refused_and_the_first_one_undisturbed(
    launch: Launch, train: Train, held: tuple[Started, list[str], Path], whole: Bits, tmp_path: Path
) -> None:
    first, command, go = held
    line = f"Another run works in {tmp_path / 'run'}; wait for it, or choose another --output_dir."
    done = launch([*command, "--resume=auto"], check=False)
    assert (done.returncode, done.stderr) == (1, f"error: {line}\n")
    assert refusal_of(train, tmp_path / "run", overwrite=True) == line
    (tmp_path / "link").symlink_to(tmp_path / "run")
    other_name = str(tmp_path / "link")
    assert other_name in refusal_of(train, tmp_path / "link", resume="auto"), "it is the same directory"
    go.touch()
    assert first.end() == 0, first.printed()
    assert bits_of(tmp_path / "run") == whole


def test_killed_run_leaves_its_directory_to_the_next(
    launch: Launch, held: tuple[Started, list[str], Path], whole: Bits, tmp_path: Path
) -> None:
    first, command, _ = held
    os.kill(first.process.pid, signal.SIGKILL)
    assert first.end() == -signal.SIGKILL
    assert not (tmp_path / "run" / "result.json").exists()
    launch([*command, "--resume=auto"])
    assert result_of(tmp_path / "run")["resumed_from"] == "step-00000002"
    assert bits_of(tmp_path / "run") == whole


# A directory that was moved.


@pytest.mark.parametrize("move", ["name", "parent", "working directory", "file system"])
def test_moved_run_resumes_where_it_lies(
    train: Train,
    directory: Path,
    whole: Bits,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    move: str,
) -> None:
    (tmp_path / "archive" / "2024").mkdir(parents=True)
    targets = {
        "name": tmp_path / "other",
        "parent": tmp_path / "archive" / "2024" / "run",
        "working directory": tmp_path / "archive" / "runs" / "mine",
    }
    target = request.getfixturevalue("disk").path / "run" if move == "file system" else targets[move]
    target.parent.mkdir(exist_ok=True)
    shutil.move(directory, target)
    resumed = At()
    if move == "working directory":
        monkeypatch.chdir(tmp_path / "archive")
        train(target, resumed, resume="auto", output_dir=None, name="mine")
    else:
        train(target, resumed, resume="auto")
    assert resumed.trained == [5, 6]
    assert bits_of(target) == whole
    assert not directory.exists(), "something still wrote to the old place"


# Another number of threads.


def test_other_number_of_threads_is_reported_and_the_run_finishes(
    train: Train, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = train(directory, At(), resume="auto", num_threads=2)
    assert re.search(r"num_threads was 1, now 2 .*rounded", capsys.readouterr().out)
    assert torch.get_num_threads() == 2
    assert (result["status"], result["steps"]) == ("finished", 6)


def test_number_of_threads_is_kept_if_none_is_given(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unusual = default_num_threads() + 1
    train(tmp_path / "whole", At(), num_threads=unusual)
    with pytest.raises(CutError):
        train(tmp_path / "run", At("after_step", 5, cut), num_threads=unusual)
    capsys.readouterr()
    train(tmp_path / "run", At(), resume="auto", num_threads=None)
    lines = [line for line in capsys.readouterr().out.splitlines() if "--num_threads" in line]
    assert re.search(rf"\b{unusual} threads .*\b{default_num_threads()} \(--num_threads\)", lines[-1])
    assert not any("rounded" in line for line in lines), "the number is kept"
    assert torch.get_num_threads() == unusual
    assert bits_of(tmp_path / "run") == bits_of(tmp_path / "whole")


# A kill while the end is written, or the beginning.


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
def test_run_killed_while_it_wrote_its_results_writes_them_again(
    train: Train, finished: Path, whole: Bits, tmp_path: Path, unwritten: tuple[str, ...]
) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    left = {name: (run / name).read_bytes() for name in ("model/model.safetensors", "predictions/test.parquet")}
    for name in unwritten:
        shutil.rmtree(run / name) if (run / name).is_dir() else (run / name).unlink()
    for name in ("result.json", "report.html"):
        (run / f".{name}.writing").write_text("{")
    resumed = At()
    train(run, resumed, resume="auto", report=True)
    assert resumed.trained == []
    assert bits_of(run) == whole
    assert left == {name: (run / name).read_bytes() for name in left}
    assert "</html>" in (run / "report.html").read_text()
    assert not list(run.glob(".*"))


@pytest.mark.parametrize("source", ["cut_run", "finished"])
def test_leftovers_of_killed_writings_are_removed(
    train: Train, whole: Bits, tmp_path: Path, request: pytest.FixtureRequest, source: str
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
    train(run, At(), resume="auto")
    assert bits_of(run) == whole
    assert [path for path in leftovers if path.exists()] == []


@pytest.mark.parametrize(
    "left",
    [
        {"config.yaml": "seed: 7\n", "predictions/old.parquet": "old"},  # while it was emptied
        {"config.yaml": "seed: 7\n"},  # the settings go last
        {},
        {".config.yaml.writing": "seed"},  # while the new settings were written
    ],
    ids=["half", "settings", "nothing", "new settings"],
)
def test_overwriting_that_was_killed_can_be_repeated(
    train: Train, whole: Bits, tmp_path: Path, left: dict[str, str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name, content in left.items():
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text(content)
    train(run, At(), overwrite=True)
    assert bits_of(run) == whole
    assert not (run / "predictions" / "old.parquet").exists()
    assert not list(run.glob(".*"))


@pytest.mark.parametrize("num_removed", [0, 3, -1], ids=["at once", "in between", "before the last"])
def test_overwriting_that_is_killed_while_it_empties_can_be_repeated(
    train: Train, directory: Path, whole: Bits, monkeypatch: pytest.MonkeyPatch, num_removed: int
) -> None:
    left = num_removed if num_removed >= 0 else len(list(directory.iterdir())) - 1

    def remove(path: Path) -> None:
        nonlocal left
        if left == 0:
            raise CutError
        left -= 1
        durable.remove(path)

    with monkeypatch.context() as patch:
        patch.setattr(run_directory, "remove", remove)
        with pytest.raises(CutError):
            train(directory, At(), overwrite=True)
    train(directory, At(), overwrite=True)
    assert bits_of(directory) == whole


def test_killed_resume_from_another_directory_can_be_repeated(
    train: Train, directory: Path, whole: Bits, tmp_path: Path
) -> None:
    # Files that hooks keep are brought into the new directory before its settings are written.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copyfile(directory / "checkpoints" / "step-00000004" / "kept" / "metrics.jsonl", elsewhere / "metrics.jsonl")
    train(elsewhere, At(), resume=str(directory / "checkpoints" / "step-00000004"))
    assert bits_of(elsewhere) == whole

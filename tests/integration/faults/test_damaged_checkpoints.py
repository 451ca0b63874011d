"""Damaged checkpoints: the previous checkpoint is used, and a message reports the damage.

A run that started with the hook `CallAt` must be resumed with it; `CallAt()` only records the trained steps.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from research.system.manifest import MANIFEST
from tests.builders.faulty_runs import CallAt, RunResults, Train, expect_user_error, read_run_results
from tests.builders.run_files import result_of
from tests.conftest import Launch

Damage = Callable[[Path], object]
"""Function that damages a checkpoint, given its directory."""


def truncate(name: str) -> Damage:
    """Return a function that cuts a file to half its size."""

    def damage(checkpoint: Path) -> None:
        content = (checkpoint / name).read_bytes()
        (checkpoint / name).write_bytes(content[: len(content) // 2])

    return damage


def flip_bit(name: str) -> Damage:
    """Return a function that flips a bit in the middle of a file."""

    def damage(checkpoint: Path) -> None:
        content = bytearray((checkpoint / name).read_bytes())
        content[len(content) // 2] ^= 1
        (checkpoint / name).write_bytes(content)

    return damage


def delete(name: str) -> Damage:
    """Return a function that deletes a file."""
    return lambda checkpoint: (checkpoint / name).unlink()


def rewrite(name: str, content: bytes) -> Damage:
    """Return a function that replaces the content of a file."""
    return lambda checkpoint: (checkpoint / name).write_bytes(content)


def delete_all_files(checkpoint: Path) -> None:
    shutil.rmtree(checkpoint)
    checkpoint.mkdir()


def set_unsupported_format(checkpoint: Path) -> None:
    manifest = json.loads((checkpoint / MANIFEST).read_text())
    (checkpoint / MANIFEST).write_text(json.dumps({**manifest, "format": 1000}))


DAMAGES: dict[str, tuple[Damage, str]] = {
    "truncated weights": (truncate("model.safetensors"), r"model\.safetensors has [\d,]+ bytes instead of [\d,]+"),
    "truncated log": (truncate("kept/metrics.jsonl"), r"kept/metrics\.jsonl has [\d,]+ bytes instead of [\d,]+"),
    "flipped bit of a weight": (flip_bit("model.safetensors"), r"model\.safetensors does not match its SHA-256 hash"),
    "flipped bit of the optimizer": (
        flip_bit("optimizer.safetensors"),
        r"optimizer\.safetensors does not match its SHA-256 hash",
    ),
    "flipped bit of the best model": (
        flip_bit("kept/best/model.safetensors"),
        r"kept/best/model\.safetensors does not match its SHA-256 hash",
    ),
    "no weights": (delete("model.safetensors"), r"model\.safetensors is missing"),
    "no state": (delete("state.json"), r"state\.json is missing"),
    "no states of hooks": (delete("process-0.safetensors"), r"process-0\.safetensors is missing"),
    "no random states": (delete("process-0.json"), r"process-0\.json is missing"),
    "no manifest": (delete(MANIFEST), r"its manifest cannot be read \(No such file or directory\)"),
    "truncated manifest": (truncate(MANIFEST), "its manifest is damaged"),
    # Some file systems leave such files after a power cut.
    "manifest of zeros": (rewrite(MANIFEST, bytes(500)), "its manifest is damaged"),
    "empty manifest": (rewrite(MANIFEST, b""), "its manifest is damaged"),
    "manifest with a list": (rewrite(MANIFEST, b"[]"), "its manifest is damaged"),
    "no files": (delete_all_files, "its manifest cannot be read"),
    "unsupported format": (set_unsupported_format, "it has format 1000, this version of Midway reads"),
}
"""Damages, with regular expressions for the reported reasons."""


@pytest.mark.parametrize(("damage", "reason"), DAMAGES.values(), ids=DAMAGES.keys())
def test_resume_skips_damaged_checkpoint(
    train: Train,
    interrupted_copy: Path,
    uninterrupted_results: RunResults,
    capsys: pytest.CaptureFixture[str],
    damage: Damage,
    reason: str,
) -> None:
    newest = interrupted_copy / "checkpoints" / "step-00000004"
    damage(newest)
    resumed = CallAt()
    train(interrupted_copy, resumed, resume="auto")
    assert re.search(rf"{newest}: {reason}", capsys.readouterr().out)
    assert result_of(interrupted_copy)["resumed_from"] == "step-00000002"
    assert resumed.trained_steps == [3, 4, 5, 6]
    assert read_run_results(interrupted_copy) == uninterrupted_results


def test_resume_starts_over_if_all_checkpoints_are_damaged(
    train: Train, interrupted_copy: Path, uninterrupted_results: RunResults, capsys: pytest.CaptureFixture[str]
) -> None:
    delete("process-0.json")(interrupted_copy / "checkpoints" / "step-00000002")
    truncate("optimizer.safetensors")(interrupted_copy / "checkpoints" / "step-00000004")
    restarted = CallAt()
    train(interrupted_copy, restarted, resume="auto")
    printed = capsys.readouterr().out
    assert re.search("step-00000004: .*optimizer.safetensors", printed)
    assert re.search("step-00000002: .*process-0.json", printed)
    assert result_of(interrupted_copy)["resumed_from"] is None
    assert restarted.trained_steps == [1, 2, 3, 4, 5, 6]
    assert read_run_results(interrupted_copy) == uninterrupted_results


def test_all_processes_skip_a_checkpoint_that_lacks_a_file_of_one_process(
    launch: Launch, flags: list[str], finished_run_of_two_processes: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(finished_run_of_two_processes, tmp_path / "run")
    (run / "result.json").unlink()
    newest = run / "checkpoints" / "step-00000006"
    (newest / "process-1.json").unlink()
    done = launch([*flags, "--output_dir", run, "--resume", "auto"], num_processes=2)
    assert f"{newest}: process-1.json" in done.stdout
    assert result_of(run)["resumed_from"] == "step-00000004"
    assert read_run_results(run) == read_run_results(finished_run_of_two_processes)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (set_unsupported_format, r": it has format 1000, this version of Midway reads only format \d+\.$"),
        (flip_bit("optimizer.safetensors"), r": optimizer\.safetensors does not match its SHA-256 hash\.$"),
        (delete(MANIFEST), " is not a checkpoint. Expected a folder such as "),
    ],
)
def test_resume_from_a_damaged_checkpoint_that_the_user_chose_is_refused(
    train: Train, interrupted_copy: Path, tmp_path: Path, damage: Damage, reason: str
) -> None:
    # The user chose this checkpoint, so falling back to another one would be wrong.
    checkpoint = interrupted_copy / "checkpoints" / "step-00000004"
    damage(checkpoint)
    line = expect_user_error(train, tmp_path / "elsewhere", CallAt(), resume=str(checkpoint))
    assert str(checkpoint) in line
    assert re.search(reason, line), line
    assert not (tmp_path / "elsewhere").exists()

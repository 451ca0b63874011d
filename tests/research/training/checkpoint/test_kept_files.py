"""Files that hooks keep are as they were at the checkpoint."""

from __future__ import annotations

from research import Hook
from research.training.checkpoint.kept_files import kept_files, restore_kept_files
from research.training.checkpoint.save import save_checkpoint
from tests.research.conftest import StartRun


class First(Hook):
    kept_files = ("first.txt", "folder")


class Second(Hook):
    kept_files = ("second.txt",)


def test_names_are_those_of_all_hooks() -> None:
    assert kept_files([First(), Hook(), Second()]) == ["first.txt", "folder", "second.txt"]


def test_files_come_back_as_the_checkpoint_has_them(start_run: StartRun) -> None:
    before = start_run([First(), Second()])
    (before.directory / "folder").mkdir()
    (before.directory / "folder" / "file").write_text("then")
    (before.directory / "first.txt").write_text("then")
    checkpoint = save_checkpoint(before, keep=1)
    run = start_run([First(), Second()], resume=checkpoint)
    (run.directory / "first.txt").write_text("later")
    (run.directory / "second.txt").write_text("later")
    (run.directory / "other.txt").write_text("of nobody")
    restore_kept_files(run)
    assert (run.directory / "first.txt").read_text() == (run.directory / "folder" / "file").read_text() == "then"
    assert not (run.directory / "second.txt").exists()
    assert (run.directory / "other.txt").exists()


def test_run_without_a_checkpoint_finds_none(start_run: StartRun) -> None:
    run = start_run([Second()])
    (run.directory / "second.txt").write_text("of an earlier run")
    restore_kept_files(run)
    assert not (run.directory / "second.txt").exists()

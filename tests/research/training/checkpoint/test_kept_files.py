"""Files that belong to the state of hooks are restored from the checkpoint."""

from __future__ import annotations

from research import Hook
from research.training.checkpoint.kept_files import kept_files, restore_kept_files
from research.training.checkpoint.save import save_checkpoint
from tests.research.conftest import StartRun


class KeepsFileAndFolder(Hook):
    """A hook whose state includes a file and a folder."""

    kept_files = ("first.txt", "folder")


class KeepsFile(Hook):
    """A hook whose state includes a file."""

    kept_files = ("second.txt",)


def test_kept_files_returns_the_files_of_all_hooks() -> None:
    assert kept_files([KeepsFileAndFolder(), Hook(), KeepsFile()]) == ["first.txt", "folder", "second.txt"]


def test_restore_kept_files_restores_the_checkpoints_versions(start_run: StartRun) -> None:
    first_run = start_run([KeepsFileAndFolder(), KeepsFile()])
    (first_run.directory / "folder").mkdir()
    (first_run.directory / "folder" / "file").write_text("saved")
    (first_run.directory / "first.txt").write_text("saved")
    checkpoint = save_checkpoint(first_run, keep=1)
    run = start_run([KeepsFileAndFolder(), KeepsFile()], resume=checkpoint)
    (run.directory / "first.txt").write_text("later")
    (run.directory / "second.txt").write_text("later")
    (run.directory / "other.txt").write_text("not a kept file")
    restore_kept_files(run)
    assert (run.directory / "first.txt").read_text() == (run.directory / "folder" / "file").read_text() == "saved"
    assert not (run.directory / "second.txt").exists()
    assert (run.directory / "other.txt").exists()


def test_restore_kept_files_deletes_existing_files_if_the_run_continues_no_checkpoint(start_run: StartRun) -> None:
    run = start_run([KeepsFile()])
    (run.directory / "second.txt").write_text("from an earlier run")
    restore_kept_files(run)
    assert not (run.directory / "second.txt").exists()

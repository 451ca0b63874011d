"""Files and folders are written atomically."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from safetensors import SafetensorError

from research.system import durable
from research.system.durable import StorageError


def test_write_text_keeps_the_old_content_if_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "result.json"
    durable.write_text(path, "old")

    def fail_to_sync(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail_to_sync)
    with pytest.raises(StorageError, match=rf"result\.json.*{os.strerror(errno.ENOSPC)}.*\b0\.0 kB"):
        durable.write_text(path, "new")
    assert path.read_text() == "old"


def test_publish_replaces_an_older_folder_with_the_final_name(tmp_path: Path) -> None:
    target, unpublished = tmp_path / "best", tmp_path / ".best.writing"
    for folder, content in ((target, "old"), (unpublished, "new")):
        folder.mkdir()
        (folder / "model").write_text(content)
    (tmp_path / ".best.replaced").mkdir()  # left by a killed process
    durable.publish(unpublished, target)
    assert [path.name for path in tmp_path.iterdir()] == ["best"]
    assert (target / "model").read_text() == "new"


def test_remove_leftovers_deletes_only_leftovers(tmp_path: Path) -> None:
    for name in (".step-4.writing", ".best.replaced", ".step-2.removing", "best", ".hidden"):
        (tmp_path / name).mkdir()
    (tmp_path / ".result.json.writing").touch()
    durable.remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"best", ".hidden"}


def test_remove_deletes_a_link_but_not_its_target(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    durable.remove(tmp_path / "link")
    durable.remove(tmp_path / "link")  # removing it again does nothing
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_remove_ignores_a_path_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").touch()
    durable.remove(tmp_path / "checkpoints" / ".step-1.writing")
    assert (tmp_path / "checkpoints").exists()


def test_copied_folder_uses_hard_links_if_possible_and_outlives_the_original(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "best"
    source.mkdir()
    (source / "model").write_text("weights")
    durable.copy(source, tmp_path / "linked")
    assert (tmp_path / "linked" / "model").samefile(source / "model")

    def refuse_link(source: str, target: str) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", refuse_link)
    durable.copy(source, tmp_path / "copied")
    durable.remove(source)
    assert (tmp_path / "linked" / "model").read_text() == (tmp_path / "copied" / "model").read_text() == "weights"


def test_copied_file_is_independent_of_the_original(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text("one\n")
    durable.copy(tmp_path / "metrics.jsonl", tmp_path / "kept")
    durable.append_text(tmp_path / "metrics.jsonl", "two\n")
    assert (tmp_path / "kept").read_text() == "one\n"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError("[enforce fail at inline_container.cc:922] . PytorchStreamWriter failed writing file data/0"),
    ],
)
def test_converted_write_error_states_the_space_needed(tmp_path: Path, error: Exception) -> None:
    message = r"step-4: .*\b271\.0 MB .*B free"
    with (
        pytest.raises(StorageError, match=message),
        durable.converting_write_errors(tmp_path / "step-4", needed=271_000_000),
    ):
        raise error


def test_only_write_errors_are_converted(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="a defect"), durable.converting_write_errors(tmp_path, needed=1):
        raise RuntimeError("a defect")


def test_check_writable_rejects_what_cannot_be_created(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    durable.check_writable(tmp_path / "new" / "file")
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="file is not a folder"):
        durable.check_writable(tmp_path / "file" / "new")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write to every folder
    with pytest.raises(StorageError, match="not writable"):
        durable.check_writable(tmp_path / "new")


def test_check_space_rejects_a_file_that_does_not_fit(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No space left"):
        durable.check_space(tmp_path / "not" / "yet" / "created", needed=2**60)
    durable.check_space(tmp_path, needed=1)

"""Finished chunks survive an interruption, and are never mixed with chunks of other work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from research.inference.parts import Parts
from research.system.durable import remove

COLUMNS = {"id": [1, 2]}


def write_all(parts: Parts, numbers: range) -> None:
    """Write chunks."""
    for number in numbers:
        parts.write(number, COLUMNS, 2)


def start(folder: Path, manifest: dict[str, Any], *, overwrite: bool = False) -> bool:
    """Start the work on out.csv in a process that ends at once."""
    with Parts(folder / "out.csv") as parts:
        return parts.start(manifest, overwrite=overwrite)


def test_publish_joins_the_parts_and_removes_the_folder(tmp_path: Path) -> None:
    with Parts(tmp_path / "out.csv") as parts:
        assert not parts.start({"data": "a"}, overwrite=False)
        write_all(parts, range(2))
        parts.publish(2, ["id"])
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    assert (tmp_path / "out.csv").read_text() == "id\n1\n2\n1\n2\n"


def test_start_continues_the_same_work_and_refuses_other_work(tmp_path: Path) -> None:
    with Parts(tmp_path / "out.csv") as parts:
        parts.start({"data": ("a", 1), "batch_size": 32}, overwrite=False)
        write_all(parts, range(1))
    with pytest.raises(ValueError, match="differs in: batch_size"):
        start(tmp_path, {"data": ("a", 1), "batch_size": 16})
    assert not start(tmp_path, {"data": ("a", 1), "batch_size": 32})
    assert parts.has(0)
    start(tmp_path, {"data": ("a", 1), "batch_size": 16}, overwrite=True)
    assert not parts.has(0)


def test_chunks_of_other_work_are_never_used_even_if_discarding_them_was_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Parts(tmp_path / "out.csv") as parts:
        parts.start({"data": "a"}, overwrite=False)
        write_all(parts, range(3))
    for _ in range(3):  # as if the process had been killed whenever it had removed one file
        removed: list[Path] = []

        def remove_one(path: Path, removed: list[Path] = removed) -> None:
            if removed:
                raise KeyboardInterrupt
            removed.append(path)
            remove(path)

        with monkeypatch.context() as patch:
            patch.setattr("research.inference.parts.remove", remove_one)
            with pytest.raises(KeyboardInterrupt):
                start(tmp_path, {"data": "b"}, overwrite=True)
    assert not start(tmp_path, {"data": "b"})
    assert not any(map(parts.has, range(3)))


def test_start_recognises_an_output_that_was_published_before_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Parts(tmp_path / "out.csv") as parts:
        parts.start({"data": "a"}, overwrite=False)
        write_all(parts, range(1))
        with monkeypatch.context() as patch:
            patch.setattr(Parts, "remove", lambda parts: None)  # as if the process had been killed
            parts.publish(1, ["id"])
    assert start(tmp_path, {"data": "a"})
    with pytest.raises(ValueError, match="exists already"):
        start(tmp_path, {"data": "b"})
    (tmp_path / "out.csv").write_text("something else")
    with pytest.raises(ValueError, match="exists already"):
        start(tmp_path, {"data": "a"})
    assert (tmp_path / "out.csv").read_text() == "something else"


def test_start_refuses_a_second_process(tmp_path: Path) -> None:
    with Parts(tmp_path / "out.csv") as parts:
        parts.start({}, overwrite=False)
        with pytest.raises(ValueError, match=r"Another run uses .*--output"):
            start(tmp_path, {})


def test_claim_failure_succeeds_once_until_the_next_start(tmp_path: Path) -> None:
    with Parts(tmp_path / "out.csv") as parts:
        parts.start({}, overwrite=False)
        assert not parts.has_failure()
        assert [parts.claim_failure(), parts.claim_failure()] == [True, False]
        assert parts.has_failure()
    start(tmp_path, {})
    assert not parts.has_failure()

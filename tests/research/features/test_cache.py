"""An entry of the feature cache is built by one process, reused by all other processes, and rebuilt if damaged."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from research.features.cache import Layers, find_features, find_or_build
from research.features.store import DamageError, FeatureStore, Layer, RowLayout, write_features
from tests.limits import HANG_LIMIT
from tests.messages import collect_messages

LAYOUT = RowLayout.of(np.array([2, 1], dtype=np.int32), max_length=8)
"""Two rows with three tokens in total."""
KEY = "0123abcd"
"""Key of the entries, unless a test needs several."""


def layer_file(number: int) -> Layer:
    """Describe the file of a layer with hidden states of size 4; `given` is the type of the encoder's output."""
    return Layer(f"layer-{number}.bin", width=4, stored="float32", given="float32")


class RecordingBuilder:
    """Finds or builds cache entries, and records which layers were built and which messages were logged."""

    def __init__(self) -> None:
        self.built: list[Layers] = []
        self.messages: list[str] = []

    def find_or_build(self, folder: Path, layers: Layers = "last", key: str = KEY) -> FeatureStore:
        def build(target: Path) -> None:
            self.built.append(layers)
            all_files = [layer_file(number) for number in range(3)]
            layer_files = all_files if layers == "all" else all_files[-1:]
            write_features(target, layer_files, [[torch.ones(3, 4)] * len(layer_files)])

        with collect_messages(self.messages):
            return find_or_build(folder, key, layers, LAYOUT, build)


@pytest.fixture
def builder() -> RecordingBuilder:
    return RecordingBuilder()


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_find_or_build_finds_an_existing_entry(builder: RecordingBuilder, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    assert find_features(tmp_path, KEY, "last", LAYOUT) is None
    first = builder.find_or_build(folder)
    assert builder.find_or_build(folder).manifest_hash == first.manifest_hash
    assert builder.built == ["last"]  # by the first call only
    assert builder.messages == []
    assert names_in(folder) == [f"features-{KEY}-last"]


def test_find_or_build_finds_the_last_layer_if_all_layers_are_stored(builder: RecordingBuilder, tmp_path: Path) -> None:
    builder.find_or_build(tmp_path, "all")
    assert builder.find_or_build(tmp_path, "last").has_all_layers
    assert builder.built == ["all"]


def test_find_or_build_builds_all_layers_if_only_the_last_is_stored(builder: RecordingBuilder, tmp_path: Path) -> None:
    builder.find_or_build(tmp_path, "last")
    assert builder.find_or_build(tmp_path, "all").has_all_layers
    assert builder.built == ["last", "all"]


@pytest.mark.parametrize("layers", ["last", "all"])
def test_find_or_build_reports_and_rebuilds_a_damaged_entry(
    builder: RecordingBuilder, tmp_path: Path, layers: Layers
) -> None:
    builder.find_or_build(tmp_path / "before", layers)
    folder = (tmp_path / "before").rename(tmp_path / "now")  # since hashes are compared only once per path and process
    entry = folder / f"features-{KEY}-{layers}"
    (entry / "layer-2.bin").write_bytes(bytes(48))  # zeros, but as many bytes as before
    assert find_features(folder, KEY, layers, LAYOUT) is None
    builder.find_or_build(folder, layers)
    assert builder.built == [layers, layers]
    (line,) = builder.messages
    assert re.search(rf" {re.escape(str(entry))} .*layer-2\.bin", line)
    assert names_in(folder) == [entry.name]
    assert find_features(folder, KEY, layers, LAYOUT) is not None


def test_find_or_build_deletes_partly_written_files_if_build_fails(builder: RecordingBuilder, tmp_path: Path) -> None:
    def build(target: Path) -> None:
        (target / "layer-2.bin").write_bytes(bytes(48))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_or_build(tmp_path, KEY, "last", LAYOUT, build)
    assert names_in(tmp_path) == []
    builder.find_or_build(tmp_path)  # the entry can be built afterwards


def test_find_or_build_raises_if_build_writes_an_incomplete_entry(tmp_path: Path) -> None:
    with pytest.raises(DamageError, match="manifest"):
        find_or_build(tmp_path, KEY, "last", LAYOUT, lambda target: None)


def test_find_or_build_deletes_only_leftovers_of_killed_processes(builder: RecordingBuilder, tmp_path: Path) -> None:
    # The hidden name contains the entry's key and the id of the process that writes the entry.
    leftover_of_this_entry, leftover_of_another_entry, files_being_written = (
        tmp_path / f".features-{key}.123.writing" for key in (KEY, "aaaa", "bbbb")
    )
    partly_removed_entry = tmp_path / ".features-cccc-last.removing"
    for folder in (leftover_of_this_entry, leftover_of_another_entry, files_being_written, partly_removed_entry):
        folder.mkdir()
        (folder / "layer-2.bin").write_bytes(bytes(10))
    (tmp_path / ".features-aaaa.lock").touch()  # left behind by the killed process
    held_lock = os.open(tmp_path / ".features-bbbb.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(held_lock, fcntl.LOCK_EX)
    builder.find_or_build(tmp_path)
    assert names_in(tmp_path) == [".features-bbbb.123.writing", ".features-bbbb.lock", f"features-{KEY}-last"]
    os.close(held_lock)
    builder.find_or_build(tmp_path, key="dddd")
    assert names_in(tmp_path) == [f"features-{KEY}-last", "features-dddd-last"]


def test_find_or_build_builds_once_for_concurrent_callers(tmp_path: Path, builder: RecordingBuilder) -> None:
    # Threads compete for the lock as processes do, since each opens the lock file separately.
    others_are_waiting, manifest_hashes = threading.Event(), []
    num_waiting = threading.Semaphore(0)

    def build(target: Path) -> None:
        builder.built.append("last")
        assert others_are_waiting.wait(HANG_LIMIT)
        write_features(target, [layer_file(2)], [[torch.ones(3, 4)]])

    class CountedMessages(list[str]):
        """Messages. Before a thread waits for another thread, it logs a message; this increases `num_waiting`."""

        def append(self, message: str) -> None:
            super().append(message)
            num_waiting.release()

    def work() -> None:
        manifest_hashes.append(find_or_build(tmp_path, KEY, "last", LAYOUT, build).manifest_hash)

    workers = [threading.Thread(target=work) for _ in range(4)]
    with collect_messages(CountedMessages()) as messages:
        for worker in workers:
            worker.start()
        for _ in range(3):
            assert num_waiting.acquire(timeout=HANG_LIMIT)
        others_are_waiting.set()
        for worker in workers:
            worker.join(HANG_LIMIT)
    assert len(builder.built) == 1
    assert len(manifest_hashes) == 4
    assert len(set(manifest_hashes)) == 1
    assert len(messages) == 3
    assert all(str(tmp_path) in line for line in messages)
    assert names_in(tmp_path) == [f"features-{KEY}-last"]


def test_find_or_build_works_without_file_locks(
    builder: RecordingBuilder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    builder.find_or_build(tmp_path)
    (line,) = builder.messages
    assert re.search(rf"{re.escape(str(tmp_path))} .*Function not implemented", line)
    builder.messages.clear()

    def build_twice(target: Path) -> None:
        """Write the entry twice, as if another process had finished first."""
        for folder in (target, tmp_path / "features-eeee-last"):
            folder.mkdir(exist_ok=True)
            write_features(folder, [layer_file(2)], [[torch.ones(3, 4)]])

    find_or_build(tmp_path, "eeee", "last", LAYOUT, build_twice)
    assert [name for name in names_in(tmp_path) if "writing" in name] == []

"""A lock excludes other processes until the process that holds it ends."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from research.system.lock import DirectoryLock, LockFile, LocksUnsupportedError, is_held

HOLD_LOCKS = """
import sys
from pathlib import Path
from research.system.lock import DirectoryLock, LockFile
directory = DirectoryLock()
directory.acquire(Path(sys.argv[1]))
file = LockFile(Path(sys.argv[1]) / "lock")
assert file.acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_locks_are_released_when_their_process_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD_LOCKS, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert is_held(tmp_path)
        with pytest.raises(ValueError, match="Another run uses"):
            DirectoryLock().acquire(tmp_path)
        lock = LockFile(tmp_path / "lock")
        assert not lock.acquire()
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert not is_held(tmp_path)
    assert lock.acquire()
    lock.release()
    assert list(tmp_path.iterdir()) == []


def test_lock_file_excludes_a_second_lock_in_the_same_process(tmp_path: Path) -> None:
    first, second = LockFile(tmp_path / "lock"), LockFile(tmp_path / "lock")
    assert first.acquire()
    assert not second.acquire()
    first.release()
    assert second.acquire(wait=True)
    second.release()


def test_locks_report_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    warning = DirectoryLock().acquire(tmp_path)  # None if the directory is locked
    assert warning is not None
    assert "(Operation not supported)" in warning
    with pytest.raises(LocksUnsupportedError, match="Operation not supported"):
        LockFile(tmp_path / "lock").acquire()


def test_lock_file_is_created_again_if_its_last_holder_deleted_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    original_flock = fcntl.flock
    locked_inodes: list[int] = []

    def flock(descriptor: int, operation: int) -> None:
        original_flock(descriptor, operation)
        if not locked_inodes:  # as if the previous holder released the lock, which deletes the file
            path.unlink()
        locked_inodes.append(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(fcntl, "flock", flock)
    lock = LockFile(path)
    assert lock.acquire()
    assert len(locked_inodes) == 2
    assert locked_inodes[1] == path.stat().st_ino
    assert not LockFile(path).acquire()
    lock.release()
    assert not path.exists()


def test_directory_is_used_by_one_run_at_a_time(tmp_path: Path) -> None:
    first, second = DirectoryLock(), DirectoryLock()
    assert first.acquire(tmp_path) is None
    assert first.acquire(tmp_path) is None  # the run that holds the lock may acquire it again
    with pytest.raises(ValueError, match="Another run uses"):
        second.acquire(tmp_path)
    first.release()
    assert second.acquire(tmp_path) is None
    second.release()

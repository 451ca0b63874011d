"""The cache stays within MIDWAY_CACHE_SIZE: the least used entries are removed, but none that a process uses."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from research.data.prepare import cache_command
from research.data.prepare.cache import Fetched, fetch
from research.data.prepare.cache_entries import evict_least_used, find_entries, lease, size_limit
from tests.conftest import command_line, run_command
from tests.limits import HANG_LIMIT
from tests.messages import collect_messages

HOLD = """
import sys
from pathlib import Path
from research.data.prepare.cache_entries import lease
held = lease(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.readline()
"""
"""Program that uses an entry until it reads a line."""


def write_entry(folder: Path, key: str, *, size: int = 1000, hours_ago: float = 0) -> Fetched:
    """Write an entry, which is in use as long as the returned object exists."""

    def build(target: Path) -> dict[str, int]:
        (target / "rows.arrow").write_bytes(bytes(size))
        return {}

    fetched = fetch(folder, "rows", key, build, lambda facts: {"data": f"data {key}", "rows": 1234})
    set_age(fetched.folder, hours_ago)
    return fetched


def set_age(path: Path, hours: float) -> None:
    """Set the time of last use."""
    then = path.stat().st_mtime - hours * 3600
    os.utime(path, (then, then))


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_eviction_removes_the_least_used_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, hours_ago in (("a", 3), ("b", 2), ("c", 1)):
        write_entry(tmp_path, key, hours_ago=hours_ago)
    write_entry(tmp_path, "a")  # is only read, which makes it the last used
    (tmp_path / "rows-of-the-user").mkdir()
    (tmp_path / "notes.txt").write_text("a file of the user" * 1000)
    monkeypatch.setenv("MIDWAY_CACHE_SIZE", "3.5kB")
    messages: list[str] = []
    with collect_messages(messages):
        write_entry(tmp_path, "d")
    assert names_in(tmp_path) == ["notes.txt", "rows-a", "rows-c", "rows-d", "rows-of-the-user"]
    (message,) = messages
    assert "1 entry (1.1 kB)" in message
    assert "3.5 kB" in message


def test_limit_below_a_new_entry_keeps_it_and_warns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_entry(tmp_path, "a")
    monkeypatch.setenv("MIDWAY_CACHE_SIZE", "2kB")
    messages: list[str] = []
    with collect_messages(messages):
        fetched = write_entry(tmp_path, "b", size=5000)
    assert names_in(tmp_path) == ["rows-b"]
    assert fetched.folder.is_dir()
    assert len(messages) == 2
    assert re.search("5.* kB, more than the 2.0 kB", messages[1])


def test_eviction_waits_for_no_process_and_removes_no_entry_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = write_entry(tmp_path, "a", hours_ago=2).folder
    idle = write_entry(tmp_path, "b").folder
    monkeypatch.setenv("MIDWAY_CACHE_SIZE", "1kB")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(used)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "held\n"
        evict_least_used(tmp_path)
        assert used.is_dir()
        assert not idle.exists()
        assert [entry.is_in_use() for entry in find_entries(tmp_path)] == [True]
        reader.communicate("\n")
    evict_least_used(tmp_path)
    assert names_in(tmp_path) == []
    assert lease(used) is None


def test_leftovers_of_killed_processes_are_removed_but_not_unfinished_entries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIDWAY_CACHE_SIZE", "1B")
    new, old, used = (tmp_path / name for name in (".rows-new", ".tokens-old", ".features-0a.12.writing"))
    for folder in (new, old, used):
        folder.mkdir()
        (folder / "file").write_bytes(bytes(10))
    held = lease(used)
    for folder in (old, used):
        set_age(folder, 1)
    evict_least_used(tmp_path)
    assert names_in(tmp_path) == [used.name, new.name]
    del held


@pytest.mark.parametrize(
    ("text", "num_bytes"), [("50GB", 50 * 10**9), ("1.5 tb", 1.5 * 10**12), ("7kB", 7000), ("", None)]
)
def test_size_limit_is_read_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, text: str, num_bytes: float | None
) -> None:
    monkeypatch.setenv("MIDWAY_CACHE_SIZE", text)
    assert size_limit() == num_bytes


@pytest.mark.parametrize("text", ["50", "GB", "-1GB", "0GB", "ten GB", "5GiB"])
def test_invalid_size_is_refused_before_an_entry_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("MIDWAY_CACHE_SIZE", text)
    with pytest.raises(ValueError, match=f"MIDWAY_CACHE_SIZE .*50GB.*'{text}'"):
        write_entry(tmp_path, "a")
    assert names_in(tmp_path) == []


def test_cache_script_lists_and_clears_entries(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    environment = {**os.environ, "MIDWAY_CACHE": str(folder), "MIDWAY_CACHE_SIZE": "50GB", "COLUMNS": "150"}

    def run(*arguments: str) -> str:
        process = run_command(command_line(arguments, script="cache.py"), tmp_path, environment, HANG_LIMIT)
        assert process.returncode == 0, process.stderr
        return process.stdout

    assert "0 entries" in run("list")
    for key, days in (("a", 40), ("b", 20), ("c", 0)):
        write_entry(folder, key, hours_ago=24 * days)
    used = lease(folder / "rows-b")
    set_age(folder / "rows-b", 24 * 40)
    listing = run("list")
    assert re.search(r"rows +│ data b +│ +│ 1,234 │ 1\.1 kB │ yes", listing)
    assert len(re.findall(r"rows +│ data [ac] .*│ +│", listing)) == 2
    assert "3 entries" in listing
    assert "50.0 GB" in listing
    output = run("clear", "--older_than", "30")
    assert "1 entry" in output.splitlines()[0]
    assert "1 entry" in output.splitlines()[1]
    assert names_in(folder) == ["rows-b", "rows-c"]
    del used
    assert "2 entries" in run("clear", "--all")
    assert names_in(folder) == []


@pytest.mark.parametrize("arguments", [["clear"], ["clear", "--all", "--older_than=3"], ["list", "--all"], ["lst"]])
def test_cache_script_refuses_unclear_commands(arguments: list[str]) -> None:
    with pytest.raises(ValueError, match=r"Expected|belong"):
        cache_command.parse(arguments)

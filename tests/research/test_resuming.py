"""What may differ between a checkpoint's run and the one that goes on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from research import RunConfig
from research.config import NOT_REPEATED
from research.lock import DirectoryLock
from research.resuming import (
    ABOUT_ROWS,
    FIXED_IN_FORKS,
    HARMLESS,
    ROUNDING,
    CheckpointError,
    compare_settings,
    list_checkpoints,
    refuse,
)

SETTINGS = [item.name for item in dataclasses.fields(RunConfig)]


def compare(name: str, value: Any, *, same_rows: bool = True, is_fork: bool = False) -> tuple[bool, bool]:
    """Return whether a changed setting is noted, and whether it is refused."""
    before = RunConfig().to_dict()
    found = compare_settings(before, before | {name: value}, same_rows=same_rows, is_fork=is_fork)
    return bool(found.notes), bool(found.refused)


def test_every_named_setting_is_one() -> None:
    for names in (NOT_REPEATED, HARMLESS, ROUNDING, ABOUT_ROWS, FIXED_IN_FORKS):
        assert set(names) <= set(SETTINGS)


@pytest.mark.parametrize("name", SETTINGS)
def test_changed_setting_is_noted_or_refused_and_never_passed_over(name: str) -> None:
    if name in NOT_REPEATED:
        assert compare(name, "another") == compare(name, "another", is_fork=True) == (False, False)
        return
    is_noted = name in (*HARMLESS, *ROUNDING, *ABOUT_ROWS)
    assert compare(name, "another") == (is_noted, not is_noted)
    is_fixed = name in FIXED_IN_FORKS
    assert compare(name, "another", is_fork=True) == ((not is_fixed, is_fixed) if name != "fork" else (False, False))


def test_settings_of_other_rows_are_refused() -> None:
    assert compare("data", "other.csv", same_rows=False) == (False, True)
    assert compare("log_every", 5, same_rows=False) == (True, True)  # a file of the same name has other rows
    assert compare("limit_train", 5, same_rows=False, is_fork=True) == (False, True)


def test_refusal_lists_the_differences_and_names_the_fork() -> None:
    checkpoint = Path("runs/a/checkpoints/step-00000400")
    with pytest.raises(CheckpointError, match=r"other settings: seed was 0, now 1; lr .*--fork runs/a@step-400\."):
        refuse(checkpoint, ["seed was 0, now 1", "lr was 1, now 2"], is_fork=False)
    refuse(checkpoint, [], is_fork=False)


def test_checkpoints_are_in_the_order_of_their_steps(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    for name in ("step-00000012", "step-00000004", "step-100000000", "step-x", ".step-00000016.writing", "other"):
        (folder / name).mkdir(parents=True)
    found = [checkpoint.name for checkpoint in list_checkpoints(tmp_path)]
    assert found == ["step-00000004", "step-00000012", "step-100000000"]
    assert list_checkpoints(tmp_path / "nothing") == []


def test_directory_belongs_to_one_run_at_a_time(tmp_path: Path) -> None:
    first, second = DirectoryLock(), DirectoryLock()
    assert first.hold(tmp_path) is None
    assert first.hold(tmp_path) is None
    with pytest.raises(ValueError, match="Another run works in"):
        second.hold(tmp_path)
    first.release()
    assert second.hold(tmp_path) is None
    second.release()

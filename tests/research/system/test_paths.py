"""Paths as written by the user."""

from __future__ import annotations

from pathlib import Path

import pytest

from research.system.paths import expand_path


def test_expand_path_expands_only_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expand_path("~/data.csv") == tmp_path / "data.csv"
    assert expand_path("./~data.csv") == Path("~data.csv")
    assert expand_path(str(tmp_path)) == tmp_path


def test_expand_path_accepts_paths_that_do_not_exist(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert expand_path(f"{tmp_path}/file/below") == tmp_path / "file" / "below"


@pytest.mark.parametrize("spec", ["a\0b", "a\udcff", "x" * 5000, "~no-such-user-here/a"])
def test_expand_path_rejects_paths_that_cannot_exist(spec: str) -> None:
    with pytest.raises(ValueError, match="Cannot read"):
        expand_path(spec)

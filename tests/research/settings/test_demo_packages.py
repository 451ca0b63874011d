"""Locations of the packages of the `demo` extra."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from research.settings.demo_packages import find_package


def test_find_package_does_not_import_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "large_data").mkdir()
    (tmp_path / "large_data" / "__init__.py").write_text("raise AssertionError('imported')", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert find_package("large_data") == tmp_path / "large_data"
    assert "large_data" not in sys.modules


def test_find_package_rejects_a_package_that_is_not_installed() -> None:
    with pytest.raises(ValueError, match="no_such_package_here"):
        find_package("no_such_package_here")

"""Locations of the package's scripts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from research.system import scripts
from research.system.scripts import launch_command, script_path, skipping_script_folder


@pytest.mark.parametrize("name", ["run", "ablate"])
def test_script_path_is_an_existing_file(name: str) -> None:
    assert script_path(name).is_file()
    assert script_path(name).name == f"{name}.py"


def test_launch_command_differs_between_clone_and_installed_package(monkeypatch: pytest.MonkeyPatch) -> None:
    assert launch_command(2) == "accelerate launch --num_processes 2 experiments/run.py"
    assert launch_command() == "accelerate launch experiments/run.py"
    monkeypatch.setattr(scripts, "__file__", "/lib/python3/site-packages/research/system/scripts.py")
    assert launch_command() == "accelerate launch -m research.scripts.run"


def test_skipping_script_folder_recognises_a_folder_by_its_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, link = tmp_path / "folder", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(folder)
    # `python link/run.py` gives these values.
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(link / "run.py"), raising=False)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    with skipping_script_folder():
        assert str(folder) not in sys.path
    assert sys.path[0] == str(folder)

"""Locations of the package's scripts."""

from __future__ import annotations

import pytest

from research.system import scripts
from research.system.scripts import launch_command, script


@pytest.mark.parametrize("name", ["run", "ablate"])
def test_scripts_are_files(name: str) -> None:
    assert script(name).is_file()
    assert script(name).name == f"{name}.py"


def test_launch_command_differs_between_clone_and_installed_package(monkeypatch: pytest.MonkeyPatch) -> None:
    assert launch_command(2) == "accelerate launch --num_processes 2 experiments/run.py"
    assert launch_command() == "accelerate launch experiments/run.py"
    monkeypatch.setattr(scripts, "__file__", "/lib/python3/site-packages/research/system/scripts.py")
    assert launch_command() == "accelerate launch -m research.scripts.run"

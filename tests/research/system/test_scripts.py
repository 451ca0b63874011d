"""Locations of the package's scripts."""

from __future__ import annotations

import pytest

from research.system import scripts
from research.system.scripts import launch_command, script_path


@pytest.mark.parametrize("name", ["run", "ablate"])
def test_script_path_is_an_existing_file(name: str) -> None:
    assert script_path(name).is_file()
    assert script_path(name).name == f"{name}.py"


def test_launch_command_differs_between_clone_and_installed_package(monkeypatch: pytest.MonkeyPatch) -> None:
    assert launch_command(2) == "accelerate launch --num_processes 2 experiments/run.py"
    assert launch_command() == "accelerate launch experiments/run.py"
    monkeypatch.setattr(scripts, "__file__", "/lib/python3/site-packages/research/system/scripts.py")
    assert launch_command() == "accelerate launch -m research.scripts.run"

"""Locations of the package's scripts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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


@pytest.mark.parametrize("options", [[], ["-m", "cProfile"]])
def test_a_script_does_not_hide_the_library_of_its_name(options: list[str], tmp_path: Path) -> None:
    (tmp_path / "evaluate.py").write_text("raise AssertionError('the wrong file was imported')", encoding="utf-8")
    script = tmp_path / "script.py"
    script.write_text("import research.learning.metrics\nprint(research.learning.metrics.evaluate.Metric.__name__)\n")
    done = subprocess.run([sys.executable, *options, str(script)], capture_output=True, text=True, check=False)
    assert "Metric\n" in done.stdout, done.stderr
    assert "wrong file" not in done.stdout + done.stderr

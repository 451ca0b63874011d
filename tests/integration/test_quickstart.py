"""The command of `make run`, with the real encoder and real reviews (about two minutes on two cores)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import ROOT, Launch


@pytest.mark.slow
def test_quickstart_reaches_84_percent_accuracy(launch: Launch, tmp_path: Path) -> None:
    recipe = ROOT / "experiments" / "recipes" / "quickstart.yaml"
    launch(["--recipe", recipe, "--output_dir", tmp_path / "run"], num_processes=1)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["metrics"]["test"]["accuracy"] >= 0.84

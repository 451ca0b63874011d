"""Report pages of unusual runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from research import Hook, RunConfig, run_experiment
from research.training.api import Run


@pytest.fixture
def settings(tiny_settings: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Return the settings of a run of two steps in a directory of its own."""
    return tiny_settings | {"max_steps": 2, "log_with": [], "output_dir": str(tmp_path / "run")}


@pytest.mark.filterwarnings("error:Attempting to set identical")  # matplotlib's warning about an axis without length
def test_page_is_written_for_a_run_without_steps(settings: dict[str, Any]) -> None:
    class StopAtStart(Hook):
        def on_train_start(self, run: Run) -> None:
            run.stop("nothing to do")

    result = run_experiment(RunConfig(**settings), hooks=[StopAtStart()])
    assert result["steps"] == 0
    page = (Path(settings["output_dir"]) / "report.html").read_text(encoding="utf-8")
    assert "Confusion matrix, test" in page
    assert "Learning rates" not in page


def test_page_is_written_if_the_default_precision_is_not_supported(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The page marks settings that differ from their defaults. The default precision is the launcher's, here fp16, which
    # CPUs do not support; the run itself sets another one.
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    run_experiment(RunConfig(**settings))
    assert (Path(settings["output_dir"]) / "report.html").exists()

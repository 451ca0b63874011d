"""A task that a plugin defines in a single file is supported from training to report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from research import RunConfig, run_experiment
from research.runner.first_checks.check import check_first
from research.studies.grid import StudySpec
from research.tasks.base import TASKS
from tests.conftest import WORDS

ORDINAL = Path(__file__).parent / "ordinal.py"


@pytest.fixture
def stars(tmp_path: Path) -> Path:
    """Write csv files of reviews with one to five stars, and return their folder."""
    folder = tmp_path / "stars"
    folder.mkdir()
    for split, num_rows in (("train", 30), ("validation", 15), ("test", 15)):
        lines = [f"{split} {row} {WORDS[row % 5]} film,{row % 5 + 1}" for row in range(num_rows)]
        (folder / f"{split}.csv").write_text("\n".join(["text,label", *lines]) + "\n", encoding="utf-8")
    return folder


def test_task_of_a_plugin_is_trained_evaluated_and_reported(
    stars: Path, tiny_encoder: Path, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))
    # A plugin file is imported only once, so use a new copy.
    plugin = shutil.copy(ORDINAL, tmp_path / "ordinal.py")
    config = RunConfig(
        encoder=str(tiny_encoder),
        data=str(stars),
        task="ordinal",
        plugin=[str(plugin)],
        max_length=32,
        max_steps=3,
        batch_size=8,
        best_metric="levels_off",
        hook=[{"name": "early_stopping", "metric": "levels_off"}],
        mixed_precision="no",
        num_threads=1,
        log_with=[],
        output_dir=str(tmp_path / "run"),
    )
    check_first(config)
    with TASKS.isolated():
        run_experiment(config)
        task = TASKS["ordinal"](("1", "2", "3", "4", "5"))
        result = json.loads((tmp_path / "run" / "result.json").read_text())
        assert StudySpec().compared_metric(result["metrics"]["test"]) == "levels_off"
    predictions = pq.read_table(tmp_path / "run" / "predictions" / "test.parquet").to_pydict()
    logits = np.log(np.stack([predictions[f"score_{name}"] for name in task.label_names], axis=1))
    assert predictions["prediction"] == task.predicted_labels(logits).tolist()
    distances = np.abs(np.subtract(predictions["prediction"], predictions["label"]))
    assert result["metrics"]["test"]["levels_off"] == pytest.approx(distances.mean())
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert task.mistakes_title in page
    model = json.loads((tmp_path / "run" / "best" / "config.json").read_text())
    assert model["problem_type"] == "single_label_classification"

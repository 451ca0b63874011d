"""What the page says about its model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from research.demo.about import describe_model
from research.inference.saved_model import load_model
from tests.research.demo.conftest import BuildModel
from tests.research.inference.conftest import trained_run

__all__ = ["trained_run"]


def test_describe_model_contains_data_and_test_metric_without_folders_of_this_machine(
    trained_run: Path, tiny_encoder: Path, tiny_reviews: Path
) -> None:
    facts = dict(describe_model(load_model(trained_run)))
    accuracy = json.loads((trained_run / "result.json").read_text())["metrics"]["test"]["accuracy"]
    assert (facts["encoder"], facts["data"]) == (tiny_encoder.name, tiny_reviews.name)
    assert facts["test accuracy"] == f"{accuracy:.4f}"


def test_describe_model_has_no_test_metric_of_another_model(trained_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained_run, tmp_path / "run")
    result = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps(result | {"tested": "best"}))
    assert "test accuracy" not in dict(describe_model(load_model(run / "model")))
    (run / "result.json").write_text('{"status": "failed", "error": "disk"}')
    assert "test accuracy" not in dict(describe_model(load_model(run)))


def test_describe_model_names_the_template(build_saved_model: BuildModel) -> None:
    assert "template" not in dict(describe_model(build_saved_model()))
    assert dict(describe_model(build_saved_model(template="film:\n{text}")))["template"] == r"film:\n{text}"

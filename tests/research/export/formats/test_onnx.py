"""The command line of exports to ONNX."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from research.export.main import execute
from research.export.settings import ExportSettings
from research.records.results import read_result
from tests.messages import collect_messages
from tests.research.export.readme_code import run_readme


def test_export_onnx_compares_the_int8_model_on_the_test_rows_of_the_run(
    trained_run: Path, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))
    messages: list[str] = []
    target = tmp_path / "export"
    with collect_messages(messages):
        execute(ExportSettings(run=str(trained_run), format="onnx", output=str(target), int8=True))
    record = json.loads((target / "export.json").read_text())
    result = read_result(trained_run)
    assert result is not None
    assert record["format"] == "onnx"
    assert record["int8"]["before"]["accuracy"] == pytest.approx(result["metrics"]["test"]["accuracy"], abs=1e-6)
    assert record["int8"]["before"]["log_loss"] == pytest.approx(result["metrics"]["test"]["log_loss"], abs=1e-4)
    assert any(f"-> {record['int8']['after']['log_loss']:.4f}" in message for message in messages)
    assert len(run_readme(target, ["good", "bad film"])) == 2


def test_export_onnx_names_a_missing_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ValueError, match=r'onnxscript.*pip install "midway\[onnx\]"'):
        execute(ExportSettings(run=str(tmp_path), format="onnx", output=str(tmp_path / "export")))

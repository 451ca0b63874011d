"""Curves of a run, read from metrics.jsonl."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from research.report.curves import read_curves


def test_read_curves_returns_one_curve_per_logged_name(tmp_path: Path) -> None:
    lines = [
        {"step": 1, "epoch": 0.5, "loss": 2.0, "logged_by_hook": 7},
        {"step": 2, "epoch": 1.0, "loss": None, "validation/loss": "Infinity"},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    curves = read_curves(tmp_path)
    assert list(curves) == ["loss", "logged_by_hook", "validation/loss"]
    steps = {name: curve_steps for name, (curve_steps, _) in curves.items()}
    values = {name: curve_values for name, (_, curve_values) in curves.items()}
    assert steps == {"loss": [1, 2], "logged_by_hook": [1], "validation/loss": [2]}
    assert (values["logged_by_hook"], values["validation/loss"]) == ([7.0], [math.inf])
    assert values["loss"] == pytest.approx([2.0, math.nan], nan_ok=True)


def test_run_that_logged_nothing_has_no_curves(tmp_path: Path) -> None:
    assert read_curves(tmp_path) == {}
    (tmp_path / "metrics.jsonl").touch()
    assert read_curves(tmp_path) == {}

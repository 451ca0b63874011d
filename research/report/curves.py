"""Read the values that a run logged over its steps."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from research.records.step_figures import Curve
from research.settings.run_files import METRICS_LOG


def read_curves(directory: Path) -> dict[str, Curve]:
    """Return the curve of every value in metrics.jsonl, including values logged by a user's hooks.

    Returns:
        Curves by name; empty if no step was logged.
    """
    path = directory / METRICS_LOG
    if not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    names = dict.fromkeys(name for line in lines for name in line if name not in ("step", "epoch"))
    return {name: _curve(lines, name) for name in names}


def _curve(lines: Sequence[dict[str, Any]], name: str) -> Curve:
    points = [(line["step"], line[name]) for line in lines if name in line]
    # JSON has neither NaN nor infinity: NaN is stored as null, and an infinite value as a string that float() accepts.
    return [step for step, _ in points], [math.nan if value is None else float(value) for _, value in points]

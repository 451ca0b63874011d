"""Read the values that a run logged over its steps, and draw its losses."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from research.edits.records import Record
from research.records.step_figures import Curve, loss_figure
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


def read_parent_curves(result: Mapping[str, Any]) -> dict[str, Curve]:
    """Return the curves of the run that a fork continues; empty if the run is not a fork.

    Args:
        result: content of the run's result.json.
    """
    return {} if result["parent"] is None else read_curves(Path(result["parent"]["run"]))


def draw_losses(
    curves: Mapping[str, Curve], parent_curves: Mapping[str, Curve], edits: Sequence[Record], num_steps: int
) -> Figure:
    """Draw the training loss and the validation loss of a run.

    Args:
        curves: the run's curves by name.
        parent_curves: the curves of the parent if the run is a fork; drawn in the background.
        edits: edits to mark.
        num_steps: number of steps of the run.
    """
    empty: Curve = ([], [])
    background = [parent_curves[name] for name in ("loss", "validation/loss") if name in parent_curves]
    return loss_figure(curves.get("loss", empty), curves.get("validation/loss", empty), edits, num_steps, background)


def _curve(lines: Sequence[dict[str, Any]], name: str) -> Curve:
    points = [(line["step"], line[name]) for line in lines if name in line]
    # JSON has neither NaN nor infinity: NaN is stored as null, and an infinite value as a string that float() accepts.
    return [step for step, _ in points], [math.nan if value is None else float(value) for _, value in points]

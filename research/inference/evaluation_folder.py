"""The folder that an evaluation writes."""

from __future__ import annotations

import os
from pathlib import Path

from research.model.saved_models import find_run
from research.system.durable import check_writable
from research.system.paths import expand_path
from research.system.plain_text import for_terminal

EVALUATIONS = "evaluations"
"""Folder of the evaluations in a run directory."""
EVALUATION = "evaluation.json"
"""Metrics and intervals. It marks a folder as an evaluation."""
EVALUATION_PREDICTIONS = "predictions.parquet"
"""Predictions for every row."""
EVALUATION_REPORT = "evaluation.html"
"""Report of the evaluation, as a page."""


def output_folder(output: str | None, model_folder: Path, data: str, split: str | None) -> Path:
    """Return the folder for the results.

    Args:
        output: value of --output.
        model_folder: folder of the model.
        data: value of --data.
        split: value of --split.
    Raises:
        ValueError: if `output` is None and the model is not in a run directory.
    """
    if output is not None:
        return expand_path(output)
    run = find_run(model_folder)
    if run is None:
        raise ValueError(f"The model in {model_folder} is not in a run directory; set --output to a new folder.")
    name = for_terminal(Path(data.rstrip("/")).name.partition(".")[0].replace(":", "-")) or "data"
    return run / EVALUATIONS / (name if split is None else f"{name}-{split}")


def check_output(folder: Path, *, overwrite: bool, marker: str = EVALUATION, kind: str = "evaluation") -> None:
    """Check that the results may be written to a folder.

    Args:
        folder: the folder.
        overwrite: whether earlier results in it may be replaced.
        marker: file that marks a folder as results of this kind.
        kind: what results of this kind are called.
    Raises:
        ValueError: if the folder exists and `overwrite` is not set, if it contains something else, or if it cannot be
            written.
    """
    check_writable(folder)
    if not os.path.lexists(folder):
        return
    if not overwrite:
        raise ValueError(f"{folder} exists. Choose another --output, or replace that {kind} with --overwrite.")
    if not folder.is_dir() or (os.listdir(folder) and not (folder / marker).exists()):
        raise ValueError(
            f"{folder} is not an earlier {kind}, so --overwrite does not replace it. Choose another --output."
        )

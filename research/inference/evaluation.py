"""Evaluate a trained model on labelled data, and write the results."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Group
from rich.table import Table

from research.data.prepare.label_encoder import MAX_NAMES_SHOWN
from research.data.prepare.labelled_rows import LabelledRows, ModelColumns, read_labelled_rows
from research.inference.evaluation_folder import EVALUATION, EVALUATION_PREDICTIONS, EVALUATION_REPORT
from research.inference.label_map import read_label_map
from research.inference.metric_intervals import bootstrap_metrics
from research.inference.saved_model import SavedModel, load_model
from research.inference.scorer import Scorer
from research.learning.metrics import compute_metrics
from research.learning.predictions import Predictions
from research.records.many_labels import MANY_LABELS
from research.records.predictions_file import predictions_size, write_predictions
from research.records.results import git_commit, versions
from research.settings.config import DataSettings, RunConfig
from research.statistics.bootstrap import CONFIDENCE
from research.system import durable
from research.system.json_values import as_json
from research.system.messages import WARNING, logger
from research.system.terminal import Terminal
from research.system.waiting import WaitingMessage, WaitingProgress
from research.tasks.base import Array, Floats, Task
from research.training.accelerator import Precision, choose_precision

if TYPE_CHECKING:
    from research.inference.evaluate import EvaluateSettings

_ROWS_PER_CALL = 2048
"""Number of rows that are scored between two updates of the progress."""


def evaluate_model(settings: EvaluateSettings, output: Path) -> dict[str, Any]:
    """Evaluate a trained model, write the results into a folder, and return the content of evaluation.json.

    Args:
        settings: the model and the data.
        output: the folder. An existing one is replaced when everything is on disk.
    Raises:
        ValueError: if the model or the data cannot be used; the message explains what to do.
    """
    precision = choose_precision(RunConfig(mixed_precision=settings.mixed_precision))
    with WaitingMessage("Loading the model"):
        saved = load_model(settings.run, plugin=settings.plugin)
    task = saved.task
    renames = read_label_map(settings.label_map, task.label_names)
    with tempfile.TemporaryDirectory(prefix="midway-evaluation-") as scratch:
        with WaitingMessage(f"Reading the rows of {settings.data}"):
            data = _read_rows(settings, saved, renames, Path(scratch))
        for note in data.notes:
            (logger.warning if note.startswith(WARNING) else logger.info)(note.removeprefix(WARNING))
        # The files are written after what may be hours.
        durable.check_space(output, needed=predictions_size(len(data.rows), task.num_labels))
        logits = _score(saved, data, settings.batch_size, precision)
        if not np.isfinite(logits).all():
            rows = int((~np.isfinite(logits)).any(axis=1).sum())
            raise ValueError(f"The model's logits are not finite for {rows:,} of {len(logits):,} rows.")
        labels = task.label_array(data.rows["label"][:])
        if (warning := _describe_missing_labels(task, labels)) is not None:
            logger.warning(warning)
        ids = data.rows.data.column("id").to_numpy()
        with WaitingMessage("Computing the metrics"):
            metrics = compute_metrics(task, logits, labels)
        predictions = Predictions(ids, logits, labels, math.nan, metrics)
        result = {
            "model": str(saved.folder),
            "task": task.name,
            "data": settings.data,
            "split": settings.split,
            "label_map": renames,
            "rows": len(ids),
            "skipped_rows": [{"reason": item.reason, "rows": item.rows} for item in data.skipped_rows],
            "metrics": metrics,
            "intervals": bootstrap_metrics(task, logits, labels, num_resamples=settings.bootstrap, seed=settings.seed),
            "confidence": CONFIDENCE,
            "bootstrap": settings.bootstrap,
            "seed": settings.seed,
            "mixed_precision": precision,
            "temperature": saved.model.config.calibration_temperature,
            "thresholds": dict(zip(task.label_names, task.thresholds, strict=False)),
            "versions": versions(),
            "git_commit": git_commit(),
        }
        _write(output, saved, data, predictions, result)
    Terminal().print(_describe(result, output))
    return result


def _read_rows(settings: EvaluateSettings, saved: SavedModel, renames: dict[str, str], scratch: Path) -> LabelledRows:
    data_settings = DataSettings(
        data=settings.data,
        text_column=settings.text_column,
        text_pair_column=settings.text_pair_column,
        label_column=settings.label_column,
        label_separator=settings.label_separator or saved.inputs.label_separator,
        encoding=settings.encoding,
        quoting=settings.quoting,
        columns=settings.columns,
        cleaning=list(saved.inputs.cleaning),
        bad_rows=settings.bad_rows,
    )
    columns = ModelColumns(saved.inputs.text_columns, saved.inputs.label_columns)
    return read_labelled_rows(data_settings, settings.split, saved.task, columns, renames, scratch)


def _describe_missing_labels(task: Task, labels: Array) -> str | None:
    """Return a warning about labels that no row has; None if there are none."""
    counts = task.count_labels(labels, labels)
    missing = [] if counts is None else [task.label_names[label] for label in np.flatnonzero(counts.present == 0)]
    if not missing:
        return None
    shown = ", ".join(missing[:MAX_NAMES_SHOWN]) + (", ..." if len(missing) > MAX_NAMES_SHOWN else "")
    return f"{len(missing):,} of {task.num_labels:,} labels of the model have no row in these data: {shown}."


def _score(saved: SavedModel, data: LabelledRows, batch_size: int, precision: Precision) -> Floats:
    """Return the logits of all rows, [num_rows, num_labels]."""
    scorer = Scorer(saved, batch_size=batch_size, precision=precision)
    names = [name for name in ("text", "text_pair") if name in data.rows.column_names]
    blocks = []
    with WaitingProgress("evaluating", len(data.rows), "row") as progress:
        for block in data.rows.iter(_ROWS_PER_CALL):
            blocks.append(scorer(list(zip(*(block[name] for name in names), strict=True))))
            progress.update(len(blocks[-1]))
    return np.concatenate(blocks)


def _write(
    output: Path, saved: SavedModel, data: LabelledRows, predictions: Predictions, result: dict[str, Any]
) -> None:
    """Write all files of the evaluation into a folder, and publish it under its name."""
    from research.report.evaluation_page import write_evaluation_page  # imports matplotlib

    temporary = output.with_name(f".{output.name}.writing")
    durable.remove(temporary)
    with (
        durable.converting_write_errors(output, needed=predictions_size(*predictions.logits.shape)),
        durable.deleting_on_failure(temporary),
    ):
        temporary.mkdir(parents=True)
        temperature = saved.model.config.calibration_temperature
        path = temporary / EVALUATION_PREDICTIONS
        write_predictions(path, saved.task, predictions, data.files, temperature=temperature)
        with WaitingMessage(f"Drawing {EVALUATION_REPORT}"):
            write_evaluation_page(temporary / EVALUATION_REPORT, result, saved.task, predictions, data)
        durable.write_text(temporary / EVALUATION, json.dumps(as_json(result), indent=2, allow_nan=False))
        durable.publish(temporary, output)


def _describe(result: dict[str, Any], output: Path) -> Group:
    """Return the folder and a table of the metrics with their intervals."""
    table = Table("metric")
    table.add_column(f"{Path(result['data']).name} ({result['rows']:,} rows)", justify="right")
    if result["intervals"]:
        table.add_column(f"{result['confidence']:.0%} interval", justify="right")
    names: Sequence[str] = list(result["metrics"])
    if sum("/" in name for name in names) >= MANY_LABELS:  # metrics of one label, such as f1/positive
        names = [name for name in names if "/" not in name]
    for name in names:
        interval = result["intervals"].get(name)
        bounds = [] if interval is None else [" to ".join(map(_format, interval))]
        table.add_row(name, _format(result["metrics"][name]), *bounds)
    return Group(str(output), table)


def _format(value: float) -> str:
    return "not defined" if math.isnan(value) else f"{value:.4f}"

"""Calibrate the tested model of a finished run with the run's validation predictions."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from transformers.utils.logging import disable_progress_bar

from research.inference.saved_model import SavedModel, load_model
from research.learning.calibration import (
    CalibratedPredictions,
    Calibration,
    CalibrationRequest,
    calibrate_predictions,
)
from research.learning.metrics import compute_metrics
from research.learning.predictions import Predictions
from research.records.predictions_file import predictions_path, read_predictions_file, update_predictions_file
from research.records.results import read_result, write_result
from research.runner.calibrate_run import apply_to_model
from research.runner.report_finished import draw_report
from research.settings.run_files import BEST, MODEL, REPORT
from research.system.durable import check_space
from research.system.json_values import as_json
from research.system.lock import DirectoryLock
from research.system.messages import logger
from research.system.terminal import Terminal
from research.system.waiting import WaitingMessage
from research.tasks.base import Task
from research.training.model_files import save_model


def calibrate_finished(directory: Path, request: CalibrationRequest, *, plugin: Sequence[str] = ()) -> dict[str, Any]:
    """Calibrate the tested model of a finished run, and return the content of its result.json.

    An earlier calibration is replaced: the logits are recovered from the predictions and from the temperature that is
    stored with them. The section `calibration` is removed from result.json first and written last. After a kill, the
    same command therefore repeats the calibration; if the section has what the command would learn, nothing is changed.

    Args:
        directory: the run directory.
        request: what to learn.
        plugin: your own code that the model needs; by default, the plugins of the run.
    Raises:
        ValueError: if the run is not finished, its task does not have what is requested, or its predictions are
            missing.
    """
    disable_progress_bar()  # Transformers' progress bar
    lock = DirectoryLock()
    if (warning := lock.acquire(directory)) is not None:
        logger.warning(warning)
    try:
        return _calibrate(directory, request, plugin)
    finally:
        lock.release()


def _calibrate(directory: Path, request: CalibrationRequest, plugin: Sequence[str]) -> dict[str, Any]:
    result = read_result(directory)
    if result is None or result.get("status") != "finished":
        raise ValueError(f"The run in {directory} is not finished. Continue it with --resume auto.")
    with WaitingMessage("Loading the model"):
        saved = load_model(directory / (BEST if result["tested"] == "best" else MODEL), plugin=plugin)
    request.check(saved.task, "temperature")
    task = dataclasses.replace(saved.task, thresholds=())
    with WaitingMessage("Reading the predictions"):
        scored = (*result["metrics"], *result["unlabelled"])
        predictions = {split: _read_uncalibrated(directory, split, task, result) for split in scored}
    validation = predictions["validation"]
    assert validation.labels is not None  # only the test rows may have no labels
    if not np.isfinite(validation.logits).all():
        raise ValueError(f"Some predictions in {predictions_path(directory, 'validation')} are not finite.")
    with WaitingMessage("Calibrating the model"):
        calibration = Calibration.learn(request, task, validation.logits, validation.labels)
    for message in calibration.warnings:
        logger.warning(message)
    learned, stored = calibration.to_result(), result.pop("calibration", None)
    if stored is not None and learned == {name: stored[name] for name in learned}:
        logger.info(f"The model in {saved.folder} has this calibration already; nothing is changed.")
        return {**result, "calibration": stored}
    calibrated = calibrate_predictions(calibration, task, predictions)
    # Of the files that are replaced, the model is by far the largest.
    check_space(saved.folder, needed=sum(path.stat().st_size for path in saved.folder.iterdir()))
    write_result(directory, result)
    for split, each in calibrated.predictions.items():
        path = predictions_path(directory, split)
        update_predictions_file(path, calibrated.task, each.logits, calibration.temperature)
    apply_to_model(calibration, saved.model)
    save_model(saved.model, saved.tokenizer, saved.folder)
    for split in result["metrics"]:
        result["metrics"][split] = calibrated.predictions[split].metrics
    result["calibration"] = {**learned, "metrics": calibrated.metrics}
    _update_report(directory, result, calibrated)
    write_result(directory, result)
    Terminal().print(_describe(saved, calibration, calibrated))
    return result


def _read_uncalibrated(directory: Path, split: str, task: Task, result: dict[str, Any]) -> Predictions:
    """Return the predictions of the uncalibrated model for a split, with their metrics."""
    predictions = read_predictions_file(predictions_path(directory, split), task, uncalibrated=True)
    if predictions.labels is None:
        return predictions
    metrics = compute_metrics(task, predictions.logits, predictions.labels)
    return dataclasses.replace(predictions, metrics={"loss": result["metrics"][split]["loss"], **metrics})


def _update_report(directory: Path, result: dict[str, Any], calibrated: CalibratedPredictions) -> None:
    """Draw report.html again if the run has one. If that is impossible, a warning is printed."""
    if not (directory / REPORT).exists():
        return
    try:
        draw_report(directory, result, calibrated.predictions, calibrated.task.thresholds)
    except ValueError as error:
        logger.warning(f"{REPORT} is not updated: {str(error).rstrip('.')}.")


def _describe(saved: SavedModel, calibration: Calibration, calibrated: CalibratedPredictions) -> Table:
    """Return a table of the metrics before and after."""
    requested = calibration.request
    learned = [f"temperature {calibration.temperature:.6g}"] if requested.temperature else []
    learned += [f"thresholds for {requested.criterion}"] if requested.criterion is not None else []
    table = Table("metric", title=f"{saved.folder}: {', '.join(learned)}", title_justify="left")
    for split in calibrated.metrics:
        table.add_column(f"{split}, before", justify="right")
        table.add_column("after", justify="right")
    for name in as_json(next(iter(calibrated.metrics.values())))["before"]:
        values = [each[state][name] for each in calibrated.metrics.values() for state in ("before", "after")]
        table.add_row(name, *("not defined" if math.isnan(value) else f"{value:.4f}" for value in values))
    return table

"""Draw report.html of a finished run from the files that the run left and the texts of its rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from research.data.prepare.load import load_splits
from research.inference.saved_model import plugins_of
from research.learning.predictions import Predictions
from research.records.predictions_file import predictions_path, read_predictions_file
from research.records.results import read_result
from research.runner.resolve import default_settings_for
from research.runner.same_run import hash_rows_of
from research.settings.config import RunConfig
from research.settings.forks import read_settings
from research.settings.plugins import import_plugins
from research.settings.run_files import CONFIG, REPORT
from research.system.lock import DirectoryLock
from research.system.messages import logger, messages_muted
from research.system.waiting import WaitingMessage


def report_finished(directory: Path, *, plugin: Sequence[str] = ()) -> Path:
    """Draw report.html of a finished run, and return its path. The model is not needed.

    Args:
        directory: the run directory.
        plugin: your own code that the run needs; by default, the plugins of the run.
    Raises:
        ValueError: if the run is not finished, another process uses its directory, its predictions or its data cannot
            be read, or its rows have changed.
    """
    lock = DirectoryLock()
    if (warning := lock.acquire(directory)) is not None:
        logger.warning(warning)
    try:
        result = read_result(directory)
        if result is None or result.get("status") != "finished":
            raise ValueError(f"The run in {directory} is not finished. Continue it with --resume auto.")
        import_plugins(plugin or plugins_of(directory))
        thresholds = ((result.get("calibration") or {}).get("thresholds") or {}).get("values", {})
        return draw_report(directory, result, None, tuple(thresholds.values()))
    finally:
        lock.release()


def draw_report(
    directory: Path,
    result: dict[str, Any],
    predictions: Mapping[str, Predictions] | None,
    thresholds: tuple[float, ...] = (),
) -> Path:
    """Draw report.html of a finished run, and return its path.

    Args:
        directory: the run directory.
        result: content of result.json.
        predictions: predictions for each split; None reads them from the run directory.
        thresholds: thresholds of a calibrated model, one for each label.
    Raises:
        ValueError: if the predictions or the data cannot be read, or the rows have changed since the run.
    """
    from research.records.figures import confusion_matrix_figures
    from research.report.page import write_report

    config = RunConfig(**read_settings(directory / CONFIG, "the run"))
    texts = load_splits(config)
    with messages_muted():  # about the data, which were just printed
        has_same_rows = hash_rows_of(config) == result["rows_sha256"]
    if not has_same_rows:
        raise ValueError(f"the rows of {config.data} have changed since the run in {directory}")
    task = dataclasses.replace(texts.task, thresholds=thresholds)
    if predictions is None:
        with WaitingMessage("Reading the predictions"):
            scored = (*result["metrics"], *result["unlabelled"])
            predictions = {split: read_predictions_file(predictions_path(directory, split), task) for split in scored}
    with WaitingMessage(f"Drawing {REPORT}"):
        matrices = confusion_matrix_figures(task, predictions)
        defaults = default_settings_for(config, task)
        return write_report(directory, result, dataclasses.replace(texts, task=task), predictions, matrices, defaults)

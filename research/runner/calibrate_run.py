"""Calibrate the tested model of a run at its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from accelerate.utils import broadcast_object_list

from research.learning.calibration import Calibration, CalibrationRequest, calibrate_predictions
from research.learning.predictions import Predictions
from research.model.encoder_with_head import EncoderWithHead
from research.system.messages import logger
from research.system.waiting import WaitingMessage
from research.training.run import TrainingRun


def calibrate_run(
    run: TrainingRun, request: CalibrationRequest, folder: Path, predictions: dict[str, Predictions]
) -> tuple[dict[str, Any] | None, dict[str, Predictions]]:
    """Calibrate the tested model with the validation rows, and save it again.

    A resumed run calibrates only once, too: it starts from checkpoints, which contain only uncalibrated models.

    Args:
        run: the run, with the tested model; its task gets the thresholds.
        request: what to learn.
        folder: folder of the tested model.
        predictions: predictions of the uncalibrated model for each split.
    Returns:
        The section `calibration` of result.json, None if the model cannot be calibrated; and the predictions of the
        calibrated model.
    """
    validation = predictions["validation"]
    assert validation.labels is not None
    if not np.isfinite(validation.logits).all():
        logger.warning("The model is not calibrated, because some logits of the validation rows are not finite.")
        return None, predictions
    with WaitingMessage("Calibrating the model"):
        learned = [Calibration.learn(request, run.task, validation.logits, validation.labels)]
        broadcast_object_list(learned)
        calibration = learned[0]
        calibrated = calibrate_predictions(calibration, run.task, predictions)
    for message in calibration.warnings:
        logger.warning(message)
    run.task = calibrated.task
    apply_to_model(calibration, run.encoder_with_head)
    run.save_model(folder)
    return {**calibration.to_result(), "metrics": calibrated.metrics}, calibrated.predictions


def apply_to_model(calibration: Calibration, model: EncoderWithHead) -> None:
    """Set a model's temperature and thresholds, in place of earlier ones."""
    model.set_temperature(calibration.temperature)
    model.config.thresholds = None if calibration.thresholds is None else list(calibration.thresholds.values)

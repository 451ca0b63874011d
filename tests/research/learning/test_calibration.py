"""Calibration of a model with the predictions of validation rows."""

from __future__ import annotations

import numpy as np
import pytest

from research.learning.calibration import Calibration, CalibrationRequest, calibrate_predictions
from research.learning.metrics import compute_metrics
from research.learning.predictions import Predictions
from research.tasks.multi_label import MultiLabel
from research.tasks.regression import Regression
from research.tasks.single_label import SingleLabel
from research.tasks.thresholds import Criterion

TASK = MultiLabel(("a", "b"))
GENERATOR = np.random.default_rng(0)
LOGITS = GENERATOR.normal(-2, 3, size=(300, 2)).astype(np.float32)
LABELS = (GENERATOR.random(LOGITS.shape) < TASK.probabilities(LOGITS / 3)).astype(np.float32)
BOTH = CalibrationRequest(temperature=True, criterion=Criterion("f1"))


def predictions_of(labels: np.ndarray | None) -> Predictions:
    metrics = {} if labels is None else {"loss": 0.25, **compute_metrics(TASK, LOGITS, labels)}
    return Predictions(np.arange(len(LOGITS)), LOGITS, labels, 0.25, metrics)


def test_calibrated_predictions_agree_with_their_metrics() -> None:
    calibration = Calibration.learn(BOTH, TASK, LOGITS, LABELS)
    calibrated = calibrate_predictions(
        calibration, TASK, {"validation": predictions_of(LABELS), "test": predictions_of(None)}
    )
    validation, test = calibrated.predictions["validation"], calibrated.predictions["test"]
    assert validation.logits.dtype == test.logits.dtype == np.float32
    assert np.array_equal(validation.logits, test.logits)
    np.testing.assert_allclose(validation.logits, LOGITS / calibration.temperature, rtol=1e-6)
    assert validation.metrics == {"loss": 0.25, **compute_metrics(calibrated.task, validation.logits, LABELS)}
    assert test.metrics == {}
    assert calibrated.metrics.keys() == {"validation"}
    before, after = (calibrated.metrics["validation"][state] for state in ("before", "after"))
    assert before.keys() == after.keys() == {"subset_accuracy", "f1_macro", "f1_micro", "log_loss", "calibration_error"}
    assert after["f1_macro"] > before["f1_macro"]
    assert after["log_loss"] < before["log_loss"]
    assert after["calibration_error"] < before["calibration_error"] / 2


def test_thresholds_alone_change_no_probability() -> None:
    calibration = Calibration.learn(CalibrationRequest(False, Criterion("f1")), TASK, LOGITS, LABELS)
    calibrated = calibrate_predictions(calibration, TASK, {"validation": predictions_of(LABELS)})
    assert np.array_equal(calibrated.predictions["validation"].logits, LOGITS)
    assert "log_loss" not in calibrated.metrics["validation"]["before"]
    assert calibration.to_result()["temperature"] is None
    assert calibration.to_result()["thresholds"]["values"].keys() == {"a", "b"}


def test_warnings_name_labels_without_rows_and_undetermined_temperatures() -> None:
    labels = (LOGITS > 0).astype(np.float32)
    assert [("range" in line) for line in Calibration.learn(BOTH, TASK, LOGITS, labels).warnings] == [True]
    labels[:, 1] = 0
    request = CalibrationRequest(False, Criterion("f1"))
    (warning,) = Calibration.learn(request, TASK, LOGITS, labels).warnings
    assert "1 of 2 labels" in warning
    assert "'b' (no row" in warning


def test_request_refuses_a_task_that_lacks_what_is_requested() -> None:
    temperature, thresholds = CalibrationRequest(True, None), CalibrationRequest(False, Criterion("f1"))
    temperature.check(SingleLabel(("a", "b")), "calibrate")
    thresholds.check(TASK, "calibrate")
    with pytest.raises(ValueError, match=r"--calibrate .* regression"):
        temperature.check(Regression, "calibrate")
    for task in (SingleLabel, Regression):
        with pytest.raises(ValueError, match=f"--thresholds .* {task.name}"):
            thresholds.check(task, "calibrate")


def test_request_is_none_if_nothing_is_requested() -> None:
    assert CalibrationRequest.of(temperature=False, thresholds=None) is None
    assert CalibrationRequest.of(temperature=True, thresholds=None) == CalibrationRequest(True, None)

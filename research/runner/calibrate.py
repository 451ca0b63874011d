"""Command line of calibrate.py, which calibrates the model of a finished run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from research.learning.calibration import CalibrationRequest
from research.model.saved_models import find_run, find_trained_model
from research.settings.declarations import Effect, setting
from research.settings.model_scripts import ModelScriptSettings, model_program, run_model_script
from research.system.loading import loading_libraries
from research.system.paths import expand_path
from research.system.waiting import WaitingMessage


@dataclass(frozen=True, kw_only=True)
class CalibrateSettings(ModelScriptSettings):
    """Calibration"""

    temperature: bool = setting(False, effect=Effect.INVOCATION)
    """Learn a temperature from the validation rows, and divide the logits by it (Guo et al. 2017)."""
    thresholds: str | None = setting(None, effect=Effect.INVOCATION, unit="criterion: f1, precision=0.9 or recall=0.9")
    """Learn from the validation rows the probability above which each label is predicted, for multi-label models: f1
    (highest F1), precision=0.9 (highest recall with at least this precision) or recall=0.9 (highest precision with at
    least this recall). null means 0.5 for every label."""


PROGRAM = model_program(
    "calibrate.py",
    "python experiments/calibrate.py",
    "Calibrate the tested model of a finished run with the run's own validation predictions. This replaces any earlier "
    "calibration of the model, and updates its predictions, result.json and report.html.",
    CalibrateSettings,
)


def execute(settings: CalibrateSettings) -> int:
    """Calibrate the model, and return the exit status."""
    request = CalibrationRequest.of(temperature=settings.temperature, thresholds=settings.thresholds)
    if request is None:
        raise ValueError("Expected --temperature true, --thresholds f1 (or precision=0.9, recall=0.9), or both.")
    run = _find_run(settings.run)
    with WaitingMessage("Loading libraries"), loading_libraries():
        from research.runner.calibrate_finished import calibrate_finished

    calibrate_finished(run, request, plugin=settings.plugin)
    return 0


def _find_run(path: str) -> Path:
    """Return the run directory of a trained model.

    Raises:
        ValueError: if there is no model, it is not in a run directory, or the run did not test it.
    """
    folder = find_trained_model(expand_path(path))
    run = find_run(folder)
    if run is None:
        raise ValueError(
            f"{path} is not in a run directory, so there are no validation predictions to calibrate it with. Calibrate "
            "the run, and export it again."
        )
    tested = find_trained_model(run)
    if folder.name != tested.name:
        raise ValueError(
            f"{folder} is not the tested model of the run: the run's predictions are those of {tested}. To calibrate "
            f"that model, name the run directory {run}."
        )
    return run


def main() -> int:
    """Execute the command line and return the exit status."""
    return run_model_script(PROGRAM, CalibrateSettings, execute)

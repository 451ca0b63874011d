"""The pages of the settings of scripts that use a trained model."""

from __future__ import annotations

from dataclasses import dataclass

from settings_pages import model_script_page

from research.demo.settings import DemoSettings
from research.export.settings import ExportSettings
from research.inference.evaluate import EvaluateSettings
from research.inference.predict_settings import PredictSettings
from research.runner.calibrate import CalibrateSettings
from research.runner.report_command import ReportSettings
from research.settings.model_scripts import ModelScriptSettings
from research.soups.settings import SoupSettings


@dataclass(frozen=True)
class ModelScript:
    """A script that uses a trained model."""

    purpose: str
    """First paragraph of the page."""
    settings: type[ModelScriptSettings]
    """Settings of the script."""


MODEL_SCRIPTS = {
    "calibrate": ModelScript(
        "`calibrate.py` [calibrates](../how-to/calibrate.md) the model of a finished run.", CalibrateSettings
    ),
    "demo": ModelScript(
        "`demo.py` serves [a web page](../how-to/demo.md) that classifies texts with a trained model.", DemoSettings
    ),
    "evaluate": ModelScript(
        "`evaluate.py` [evaluates a trained model on other data](../how-to/evaluate-on-other-data.md).",
        EvaluateSettings,
    ),
    "export": ModelScript(
        "`export.py` writes a trained model into a folder that does not need Midway; see "
        "[Share a model](../how-to/share-a-model.md). A setting whose description starts with a format is refused for "
        "other formats.",
        ExportSettings,
    ),
    "predict": ModelScript(
        "`predict.py` [predicts labels for a file](../how-to/predict-a-csv.md) with a trained model.", PredictSettings
    ),
    "report": ModelScript(
        "`report.py` [draws the reports](../how-to/read-the-reports.md) of finished runs.", ReportSettings
    ),
    "soup": ModelScript(
        "`soup.py` [averages the weights of trained models](../how-to/average-weights.md).", SoupSettings
    ),
}
"""The scripts by their names, which are also the names of their pages."""


def page_of(name: str) -> str:
    """Return the page of a script's settings."""
    script = MODEL_SCRIPTS[name]
    return model_script_page(f"{name}.py", script.purpose, script.settings)

"""The command line of predict.py."""

from __future__ import annotations

from research.inference.predict_settings import PredictSettings
from research.settings.model_scripts import model_program, run_model_script
from research.system.loading import loading_libraries
from research.system.scripts import script_argument
from research.system.waiting import WaitingMessage

PREDICT = model_program(
    "predict.py",
    f"python {script_argument('predict')}",
    "Predict the labels of a file with a trained model. The same command continues an interrupted one. Start it with "
    "`accelerate launch` instead of `python` to use several processes.",
    PredictSettings,
)
"""The command-line interface."""


def execute(settings: PredictSettings) -> int:
    """Check the settings, then predict; return the exit status."""
    # torch and Transformers are imported only where they are needed, which keeps --help fast.
    from research.inference.predict_checks import check_settings

    check_settings(settings)
    with WaitingMessage("Loading libraries"), loading_libraries():
        from research.inference.predict import predict

    predict(settings)
    return 0


def main() -> int:
    """Execute the command line and return the exit status."""
    return run_model_script(PREDICT, PredictSettings, execute, uses_several_processes=True)

"""Command line of report.py, which draws the reports of finished runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from research.model.saved_models import find_run
from research.settings.declarations import Effect, setting
from research.settings.model_scripts import ModelScriptSettings, model_program, run_model_script
from research.settings.run_files import CONFIG, RESULT
from research.system.loading import loading_libraries
from research.system.messages import logger
from research.system.paths import expand_path
from research.system.waiting import WaitingMessage


@dataclass(frozen=True, kw_only=True)
class ReportSettings(ModelScriptSettings):
    """Reports"""

    run: list[str] = setting(  # type: ignore[assignment]  # several runs instead of one
        [], effect=Effect.INVOCATION, input_path=str, takes_several_values=True
    )
    """Finished runs, such as trials of a study: each a run directory, its model/ or best/ folder. May be given without
    the flag, as the first arguments."""


REPORT_PROGRAM = model_program(
    "report.py",
    "python experiments/report.py",
    "Draw report.html of finished runs, from the files that they left and the texts of their rows. Trials of a study "
    "draw none by themselves.",
    ReportSettings,
    models="RUN [RUN ...]",
)
"""The command-line interface of report.py."""


def execute(settings: ReportSettings) -> int:
    """Draw the reports, and return the exit status."""
    if not settings.run:
        raise ValueError(f"Expected at least one run directory. Usage: {REPORT_PROGRAM.usage}")
    directories = [_find_run(name) for name in settings.run]
    with WaitingMessage("Loading libraries"), loading_libraries():
        from research.runner.report_finished import report_finished

    for directory in directories:
        try:
            path = report_finished(directory, plugin=settings.plugin)
        except ValueError as error:
            raise ValueError(f"Cannot draw the report of {directory}: {error}") from error
        logger.info(f"report: {path}")
    return 0


def _find_run(name: str) -> Path:
    """Return the directory of a run that has a result.

    Raises:
        ValueError: if there is none.
    """
    path = expand_path(name)
    directory = find_run(path) or path
    if not (directory / CONFIG).is_file():
        raise ValueError(f"{name} is not a run directory: there is no {directory / CONFIG}.")
    if not (directory / RESULT).is_file():
        raise ValueError(f"The run in {directory} is not finished. Continue it with --resume auto.")
    return directory


def main() -> int:
    """Execute the command line and return the exit status."""
    return run_model_script(REPORT_PROGRAM, ReportSettings, execute)

"""Checks of a study's command line that need no heavy imports."""

from __future__ import annotations

from research.studies.command import StudyCommand
from research.studies.launcher import read_launcher
from research.tasks.metric_names import check_metric_name


def check_study(command: StudyCommand) -> None:
    """Check the study's metric and its config file for `accelerate launch`.

    Raises:
        ValueError: if the metric is unknown, if the task chosen for all trials does not have it, or if the config file
            cannot be read or is invalid.
    """
    if command.spec.metric is not None:
        check_metric_name(command.spec.metric, command.spec.base.get("task"))
    read_launcher(command.settings.accelerate_config)  # refuses an invalid file

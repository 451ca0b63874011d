"""Refuse what is wrong with a study itself, before anything heavy is imported."""

from __future__ import annotations

from research.studies.command import StudyCommand
from research.studies.launcher import read_launcher
from research.tasks.metric_names import check_metric_name


def check_study(command: StudyCommand) -> None:
    """Refuse a metric that no labels have, and a launcher's config that cannot be read.

    Raises:
        ValueError: naming what was found.
    """
    if command.spec.metric is not None:
        check_metric_name(command.spec.metric, command.spec.base.get("task"))
    read_launcher(command.settings.accelerate_config)

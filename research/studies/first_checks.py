"""Refuse what is wrong with a study itself, or with a worker's options, before anything heavy is imported."""

from __future__ import annotations

from research.studies.command import StudyCommand
from research.studies.launcher import read_launcher
from research.studies.time_limit import parse_seconds
from research.tasks.metric_names import check_metric_name


def check_study(command: StudyCommand) -> None:
    """Refuse a metric that no labels have, and a launcher's config that cannot be read.

    Raises:
        ValueError: naming what was found.
    """
    if command.spec.metric is not None:
        check_metric_name(command.spec.metric, command.spec.base.get("task"))
    read_launcher(command.settings.accelerate_config)


def check_worker(accelerate_config: str | None, num_workers: int, trial_timeout: str | None) -> None:
    """Refuse options of a further worker that cannot be.

    Args:
        accelerate_config: file for `accelerate launch`.
        num_workers: how many share this machine.
        trial_timeout: how long one attempt at a trial may take, such as 2h.
    Raises:
        ValueError: naming what was found.
    """
    read_launcher(accelerate_config)
    if num_workers < 1:
        raise ValueError(f"Expected --num_workers above 0, got {num_workers}.")
    if trial_timeout is not None:
        parse_seconds(trial_timeout)

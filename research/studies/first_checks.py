"""Checks of a study's command line that need no heavy imports."""

from __future__ import annotations

from research.studies.command import StudyCommand
from research.studies.launcher import read_launcher
from research.studies.search.spec import parse_confirm
from research.tasks.metric_names import check_metric_name


def check_study(command: StudyCommand) -> None:
    """Check the study's metric, its config file for `accelerate launch`, and the flags of searches and submissions.

    Raises:
        ValueError: if the metric is unknown, if the task chosen for all trials does not have it, if the config file
            cannot be read or is invalid, or if a flag has no effect on this kind of study.
    """
    if command.spec.metric is not None:
        check_metric_name(command.spec.metric, command.spec.base.get("task"))
    if command.settings.confirm is not None:
        parse_confirm(command.settings.confirm)  # refuses an invalid value
    for flag in ("confirm", "promote"):
        if getattr(command.settings, flag) is not None and not command.spec.search:
            raise ValueError(f"--{flag} needs a search, such as --search lr=1e-6..1e-3:log --trials 20.")
    if command.settings.drop_waiting and command.spec.search:
        raise ValueError("--drop_waiting removes waiting trials of an earlier grid, which a search does not have.")
    read_launcher(command.settings.accelerate_config)  # refuses an invalid file
    if command.submission is not None:
        command.submission.check(command.settings.storage, command.settings.workers)

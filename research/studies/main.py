"""Entry points of ablate.py: run a study, submit its workers, or run an additional worker."""

import sys

from research.runner.first_checks.check import check_first
from research.runner.listing import print_help
from research.settings.program import HelpRequest
from research.studies.command import StudyCommand, WorkerSettings, parse_study, parse_submit, parse_work
from research.studies.first_checks import check_study
from research.studies.grid import check_arms, expand, expand_parents
from research.studies.launcher import read_launcher
from research.system.errors import print_error, run_script
from research.system.loading import loading_libraries
from research.system.messages import logger


def plan_and_run_study(command: StudyCommand | HelpRequest) -> int:
    """Plan and run a study, or print its help, and return the exit status."""
    if isinstance(command, HelpRequest):
        return print_help(command)
    check_study(command)
    if command.spec.search:
        return _finish(_run_search(command))
    trials = expand(command.spec, command.options)
    parents = expand_parents(command.spec, command.options)
    check_arms([*parents, *trials], check_first)
    logger.info(f"Planning the study {command.spec.name}: loading libraries, then checking settings and data.")
    # Imported only now, because torch and optuna would slow down --help.
    with loading_libraries():
        from research.studies.run_study import run_study

    return _finish(run_study(command, trials, parents))


def _run_search(command: StudyCommand) -> int:
    logger.info(f"Planning the search {command.spec.name}: loading libraries, then checking settings and data.")
    with loading_libraries():
        from research.studies.search.run_search import run_search

    return run_search(command)


def _finish(status: int) -> int:
    """Print how to continue a study that a signal has interrupted, and return its exit status."""
    if status > 128:  # 128 + the number of the signal that stopped the study
        print_error("interrupted; run the same command again to continue", exit_code=status)
    return status


def work(command: WorkerSettings | HelpRequest) -> int:
    """Run an additional worker of an existing study, or print its help, and return the exit status."""
    if isinstance(command, HelpRequest):
        return print_help(command)
    read_launcher(command.accelerate_config)  # refuses an invalid file
    with loading_libraries():
        from research.studies import run_study

    return run_study.work(command)


def main() -> int:
    """Run the command line and return the exit status."""
    if sys.argv[1:2] == ["work"]:
        return run_script(sys.argv[2:], parse_work, work)
    if sys.argv[1:2] == ["submit"]:
        return run_script(sys.argv[2:], parse_submit, plan_and_run_study)
    return run_script(sys.argv[1:], parse_study, plan_and_run_study)

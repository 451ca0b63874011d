"""The command line of a study, and of its further workers."""

import sys

from research.runner.first_checks.check import check_first
from research.runner.listing import print_help
from research.settings.program import HelpRequest
from research.studies.command import StudyCommand, WorkerSettings, parse_study, parse_work
from research.studies.first_checks import check_study
from research.studies.grid import check_arms, expand
from research.studies.launcher import read_launcher
from research.system.errors import print_error, run_script
from research.system.loading import loading_libraries
from research.system.messages import logger


def compare(command: StudyCommand | HelpRequest) -> int:
    """Plan and run a study."""
    if isinstance(command, HelpRequest):
        return print_help(command)
    check_study(command)
    trials = expand(command.spec, command.options)
    check_arms(trials, check_first)
    logger.info(f"Planning the study {command.spec.name}: loading libraries, then checking settings and data.")
    # Only now torch and optuna are imported, so that --help answers at once.
    with loading_libraries():
        from research.studies.run_study import run_study

    status = run_study(command, trials)
    if status > 128:
        print_error("interrupted; the same command goes on", exit_code=status)
    return status


def work(command: WorkerSettings | HelpRequest) -> int:
    """Work on a study that was planned, on this or another machine."""
    if isinstance(command, HelpRequest):
        return print_help(command)
    read_launcher(command.accelerate_config)
    with loading_libraries():
        from research.studies import run_study

    return run_study.work(command)


def main() -> int:
    """Do what the command line says; return the exit status."""
    if sys.argv[1:2] == ["work"]:
        return run_script(sys.argv[2:], parse_work, work)
    return run_script(sys.argv[1:], parse_study, compare)

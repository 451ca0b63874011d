"""The command line of a study, and of its further workers."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from research.runner.first_checks.check import check_first
from research.studies.command import StudyCommand, parse_study
from research.studies.first_checks import check_study, check_worker
from research.studies.grid import check_arms, expand
from research.system.errors import complain, run_script
from research.system.loading import loading_libraries
from research.system.messages import logger


def compare(command: StudyCommand) -> int:
    """Plan and run a study."""
    check_study(command)
    trials = expand(command.spec, command.options)
    check_arms(trials, check_first)
    logger.info(f"Planning the study {command.spec.name}: loading libraries, then checking settings and data.")
    # Only now torch and optuna are imported, so that --help answers at once.
    with loading_libraries():
        from research.studies.conduct import conduct

    status = conduct(command, trials)
    if status > 128:
        complain("interrupted; the same command goes on", exit_code=status)
    return status


def parse_work(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line of a further worker."""
    parser = argparse.ArgumentParser(prog="ablate.py work", description=work.__doc__)
    parser.add_argument("--study", required=True, help="its name")
    parser.add_argument("--storage", required=True, help="address of its database, as ablate.py got it")
    parser.add_argument("--directory", type=Path, help="where its trials lie here (default: runs/<study>)")
    parser.add_argument("--accelerate_config", help="config file of `accelerate launch` for each trial")
    parser.add_argument("--num_workers", type=int, default=1, help="workers that share this machine (default: 1)")
    parser.add_argument("--trial_timeout", help="how long one attempt at a trial may take: 2h, 90m (default: no limit)")
    parser.add_argument(
        "--traceback", action="store_true", help="show the whole traceback of an error in your own code"
    )
    return parser.parse_args(arguments)


def work(options: argparse.Namespace) -> int:
    """Work on a study that was planned, on this or another machine."""
    check_worker(options.accelerate_config, options.num_workers, options.trial_timeout)
    with loading_libraries():
        from research.studies import conduct

    return conduct.work(
        options.study,
        options.storage,
        options.directory,
        options.accelerate_config,
        options.num_workers,
        options.trial_timeout,
    )


def main() -> int:
    """Do what the command line says; return the exit status."""
    if sys.argv[1:2] == ["work"]:
        return run_script(sys.argv[2:], parse_work, work)
    return run_script(sys.argv[1:], parse_study, compare)

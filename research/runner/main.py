"""Command line of a run."""

import sys

from research.runner.first_checks.check import check_first
from research.runner.first_checks.paths import check_run_directory
from research.runner.listing import describe_listing, print_help
from research.settings.command_line import Command, parse
from research.settings.program import HelpRequest
from research.system.errors import run_script
from research.system.events import recording_events_for_study
from research.system.loading import loading_libraries
from research.system.waiting import WaitingMessage


def execute(command: Command | HelpRequest) -> int:
    """Execute a command: print help, a listing, the settings or the plan (--dry_run), or train."""
    # torch and Transformers are imported only where they are needed, which keeps --help fast.
    if isinstance(command, HelpRequest):
        return print_help(command)
    if command.listing is not None:
        print(describe_listing(command.listing, command.config.plugin))
        return 0
    check_first(command.config)
    if command.print_config:
        from research.records.results import config_as_yaml
        from research.runner.resolve import resolve

        print(config_as_yaml(resolve(command.config)), end="")
    elif command.dry_run:
        with WaitingMessage("Loading libraries"), loading_libraries():
            from research.runner.dry_run import print_dry_run

        print_dry_run(command.config)
    else:
        check_run_directory(command.config)
        with WaitingMessage("Loading libraries"), loading_libraries():
            from research.runner.experiment import execute_run

        with recording_events_for_study():
            execute_run(command.config)
    return 0


def main() -> int:
    """Execute the command line and return the exit status."""
    return run_script(sys.argv[1:], parse, execute)

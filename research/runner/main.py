"""The command line of a run."""

import sys

from research.runner.first_checks.check import check_first
from research.runner.first_checks.places import check_run_directory
from research.settings.command_line import Command, parse
from research.system.errors import run_script
from research.system.events import writing_for_study
from research.system.loading import loading_libraries
from research.system.waiting import Announced


def carry_out(command: Command) -> int:
    """Look or train, as the command says."""
    # Only now torch and transformers are imported, so that --help answers at once.
    if command.help is not None:
        from research.runner.listing import print_help

        print_help(command.help)
        return 0
    if command.listing is not None:
        from research.runner.listing import describe_listing

        print(describe_listing(command.listing, command.config.plugin))
        return 0
    check_first(command.config)
    if command.print_config:
        from research.records.results import config_as_yaml
        from research.runner.resolve import resolve

        print(config_as_yaml(resolve(command.config)), end="")
    elif command.dry_run:
        with Announced("Loading libraries"), loading_libraries():
            from research.runner.dry_run import preview

        preview(command.config)
    else:
        check_run_directory(command.config)
        with Announced("Loading libraries"), loading_libraries():
            from research.runner.experiment import run_experiment

        with writing_for_study():
            run_experiment(command.config)
    return 0


def main() -> int:
    """Do what the command line says; return the exit status."""
    return run_script(sys.argv[1:], parse, carry_out)

"""Fine-tune a pretrained encoder with a head of your choice: accelerate launch experiments/run.py --head lstm."""

import sys

from research.cli import Command, parse
from research.first_checks import check_first
from research.place_checks import check_run_directory
from research.user_errors import run_script
from research.waiting import Announced, reporter


def carry_out(command: Command) -> int:
    """Look or train, as the command says."""
    # Only now torch and transformers are imported, so that --help answers at once.
    if command.listing is not None:
        from research.listing import describe_listing

        print(describe_listing(command.listing, command.config.plugin))
        return 0
    check_first(command.config)
    if command.print_config:
        from research.assemble import resolve
        from research.outputs import config_as_yaml

        print(config_as_yaml(resolve(command.config)), end="")
    elif command.dry_run:
        with Announced("Loading libraries", reporter()):
            from research.preview import preview

        preview(command.config)
    else:
        check_run_directory(command.config)
        with Announced("Loading libraries", reporter()):
            from research.experiment import run_experiment

        run_experiment(command.config)
    return 0


if __name__ == "__main__":
    sys.exit(run_script(sys.argv[1:], parse, carry_out))

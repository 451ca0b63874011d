"""Fine-tune a pretrained encoder with a head of your choice: accelerate launch experiments/run.py --head lstm."""

import sys

from research.cli import Command, parse
from research.user_errors import is_for_the_user


def main() -> int:
    """Parse, build, train; a problem that the user can mend is one line, not a traceback."""
    try:
        command = parse(sys.argv[1:])
    except ValueError as error:
        if not is_for_the_user(error):
            raise
        return complain(error, exit_code=2)
    if command is None:
        return 0
    try:
        carry_out(command)
    except ValueError as error:
        if not is_for_the_user(error):
            raise
        return complain(error, exit_code=1)
    except KeyboardInterrupt as interrupt:
        return complain(str(interrupt) or "interrupted", exit_code=getattr(interrupt, "exit_code", 130))
    return 0


def carry_out(command: Command) -> None:
    """Look or train, as the command says."""
    # Only now torch and transformers are imported, so that --help answers at once.
    if command.listing is not None:
        from research.listing import describe_listing

        print(describe_listing(command.listing, command.config.plugin))
    elif command.print_config:
        from research.assemble import resolve
        from research.outputs import config_as_yaml

        print(config_as_yaml(resolve(command.config)), end="")
    elif command.dry_run:
        from research.preview import preview

        preview(command.config)
    else:
        from research.experiment import run_experiment

        run_experiment(command.config)


def complain(error: object, exit_code: int) -> int:
    """Print one line for the user."""
    print(f"error: {error}", file=sys.stderr)
    return exit_code


if __name__ == "__main__":
    sys.exit(main())

"""Compare heads, seeds or any other settings: python experiments/ablate.py --heads linear,lstm --seeds 0,1,2."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from run import complain

from research.ablation.command import parse_study
from research.user_errors import is_for_the_user


def main() -> int:
    """Run a study, or work on one; a problem that the user can mend is one line, not a traceback."""
    arguments = sys.argv[1:]
    try:
        return help_out(arguments[1:]) if arguments[:1] == ["work"] else compare(arguments)
    except ValueError as error:
        if not is_for_the_user(error):
            raise
        return complain(error, exit_code=1)
    except KeyboardInterrupt:
        return complain("interrupted", exit_code=130)


def compare(arguments: Sequence[str]) -> int:
    """Plan and run a study."""
    try:
        command = parse_study(arguments)
    except ValueError as error:
        if not is_for_the_user(error):
            raise
        return complain(error, exit_code=2)
    if command is None:
        return 0
    # Only now torch and optuna are imported, so that --help answers at once.
    from research.ablation.conduct import conduct

    status = conduct(command)
    if status > 128:
        complain("interrupted; the same command goes on", exit_code=status)
    return status


def help_out(arguments: Sequence[str]) -> int:
    """Work on a study that was planned, on this or another machine."""
    parser = argparse.ArgumentParser(prog="ablate.py work", description=help_out.__doc__)
    parser.add_argument("--study", required=True, help="its name")
    parser.add_argument("--storage", required=True, help="address of its database, as ablate.py got it")
    parser.add_argument("--directory", type=Path, help="where its trials lie here (default: runs/<study>)")
    parser.add_argument("--accelerate_config", help="config file of `accelerate launch` for each trial")
    parser.add_argument("--num_workers", type=int, default=1, help="workers that share this machine (default: 1)")
    options = parser.parse_args(arguments)
    from research.ablation.conduct import work

    return work(options.study, options.storage, options.directory, options.accelerate_config, options.num_workers)


if __name__ == "__main__":
    sys.exit(main())

"""Errors for the user: which they are, and how a library's becomes one line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from research.plain_text import for_terminal

Command = TypeVar("Command")


def run_script(
    arguments: Sequence[str],
    parse: Callable[[Sequence[str]], Command | None],
    carry_out: Callable[[Command], int],
) -> int:
    """Parse a command line and carry it out; a problem that the user can mend is one line, not a traceback.

    Args:
        arguments: what follows the script's name.
        parse: returns the command, or None when only help was asked for.
        carry_out: does what it says, and returns the exit status.
    Returns:
        The exit status.
    """
    try:
        command = parse(arguments)
    except ValueError as error:
        return _complain_of(error, exit_code=2)
    if command is None:
        return 0
    try:
        return carry_out(command)
    except ValueError as error:
        return _complain_of(error, exit_code=1)
    except KeyboardInterrupt as interrupt:
        return complain(str(interrupt) or "interrupted", exit_code=getattr(interrupt, "exit_code", 130))


def complain(message: object, exit_code: int) -> int:
    """Print one line for the user, and return the exit status."""
    print(f"error: {for_terminal(str(message), keep_lines=True)}", file=sys.stderr)
    return exit_code


def _complain_of(error: ValueError, exit_code: int) -> int:
    if not is_for_the_user(error):
        raise error
    return complain(error, exit_code)


def is_for_the_user(error: ValueError) -> bool:
    """Return whether this project raised an error, to say what to mend.

    A ValueError out of a library, or out of the user's own head or hook, is a defect: its traceback says where.
    """
    position = error.__traceback__
    assert position is not None
    while position.tb_next is not None:
        position = position.tb_next
    module: str = position.tb_frame.f_globals["__name__"]
    return module.partition(".")[0] in ("heads", "research")


def one_line(message: object) -> str:
    """Return a text, or an error's, on one line."""
    return " ".join(str(message).split())

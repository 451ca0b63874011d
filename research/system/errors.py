"""Errors shown to the user: recognise them, describe them in a few lines, and print them without a traceback."""

from __future__ import annotations

import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from research.system import user_code
from research.system.events import report_error
from research.system.one_report import claim_report
from research.system.plain_text import for_terminal


class HasTracebackFlag(Protocol):
    """A parsed command line with the flag --traceback."""

    @property
    def traceback(self) -> bool:
        """Whether to show full tracebacks of errors in the user's own code (--traceback)."""
        ...


Command = TypeVar("Command", bound=HasTracebackFlag)


def run_script(
    arguments: Sequence[str],
    parse: Callable[[Sequence[str]], Command],
    execute: Callable[[Command], int],
) -> int:
    """Parse a command line and execute it. Errors that the user can fix are printed without a traceback.

    Args:
        arguments: the arguments after the script's name.
        parse: parses the arguments and returns the command.
        execute: executes the command and returns the exit status.
    Returns:
        The exit status.
    Raises:
        Exception: if the cause is neither in the user's settings and files nor in the user's code.
        SystemExit: after a signal.
    """
    exit_code, shows_traceback = 2, False  # 2 is the usual exit status for a wrong command line
    try:
        command = parse(arguments)
        exit_code, shows_traceback = 1, command.traceback
        status = execute(command)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        if not _discard_output_if_closed():
            raise
        return 128 + signal.SIGPIPE
    except (Exception, SystemExit) as error:
        message = describe_user_error(error)
        if message is None or (isinstance(error, SystemExit) and not user_code.is_raised_by_user_code(error)):
            if isinstance(error, Exception):
                report_error(describe_failure(error))
            raise  # a defect, or a deliberate exit after a signal
        if shows_traceback:
            traceback.print_exception(error)
        elif user_code.describe(error) is not None:
            message += "\n(--traceback shows the full traceback.)"
        return print_error(message, exit_code)
    except KeyboardInterrupt as interrupt:
        # 130 is the exit status with which a shell reports Ctrl-C.
        exit_code = getattr(interrupt, "exit_code", 130)
        if exit_code == 0:  # the run was paused, as its settings ask for
            print(for_terminal(str(interrupt)), file=sys.stderr, flush=True)
            return 0
        return print_error(str(interrupt) or "interrupted", exit_code)


def print_error(message: object, exit_code: int) -> int:
    """Print an error, unless another process of the run has printed the same one, and return the exit status."""
    if claim_report(str(message)):
        report_error(str(message))
        print(f"error: {for_terminal(str(message), keep_lines=True)}", file=sys.stderr, flush=True)
    return exit_code


def describe_user_error(error: BaseException) -> str | None:
    """Describe an error in the user's settings, files or code; None for a defect of Midway, which needs a traceback."""
    described = user_code.describe(error)
    if described is None and isinstance(error, ValueError) and is_user_facing(error):
        return str(error)
    return described


def describe_failure(error: BaseException) -> str:
    """Describe an error for result.json and for the reports of studies."""
    return user_code.describe(error) or user_code.describe_plainly(error)


def is_user_facing(error: ValueError) -> bool:
    """Return whether Midway raised an error deliberately, to tell the user what to fix.

    A ValueError raised in a library is a defect and needs its traceback. To find out, the file
    that raised the error is compared with Midway's folders. The name of its module would not do: a script's module is
    called __main__.
    """
    position = error.__traceback__
    assert position is not None
    while position.tb_next is not None:
        position = position.tb_next
    return user_code.is_midway_code(position.tb_frame.f_code.co_filename)


def one_line(message: object) -> str:
    """Return a message, or the message of an error, on one line."""
    return " ".join(str(message).split())


def _discard_output_if_closed() -> bool:
    """If the reader of stdout has exited (`... | head`), discard the remaining output and return True."""
    output = select.poll()
    output.register(sys.stdout, 0)  # poll always reports errors
    if not output.poll(0):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True

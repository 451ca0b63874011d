"""Errors for the user: which they are, and how a library's becomes one line."""

from __future__ import annotations


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

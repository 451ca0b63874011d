"""Show an error in a notebook without its traceback."""

from __future__ import annotations

from typing import TypeVar

Error = TypeVar("Error", bound=BaseException)


def without_traceback(error: Error) -> Error:
    """Return an error without its traceback so far; IPython also omits the part from here to the user's code."""
    # IPython calls this method instead of formatting the traceback.
    error._render_traceback_ = lambda: [f"{type(error).__name__}: {error}"]  # type: ignore[attr-defined]
    return error.with_traceback(None)

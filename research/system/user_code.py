"""Exceptions in the user's own code: describe what the code belongs to, when it was called, and the line that failed.

What the code belongs to, such as "head 'mine'", is called its owner.
"""

from __future__ import annotations

import hashlib
import inspect
import linecache
import sysconfig
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import heads

_RESEARCH = Path(__file__).resolve().parents[1]
_MIDWAY = (Path(heads.__file__).resolve().parent, _RESEARCH, _RESEARCH.with_name("experiments"))
"""Folders of Midway's code."""
_STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib")).resolve()
_INSTALLED = ("site-packages", "dist-packages")
"""Names of the folders that contain installed packages."""
_GENERATED = "torchinductor_"
"""Prefix of the folders in which torch.compile writes generated code."""
_CELL = "<ipython-input-"
"""Prefix of the names that IPython gives to cells in a terminal. In a notebook, cells have names of .py files."""
_CYTHON = (".pyx", ".pxi", ".pxd")
"""Suffixes of Cython sources. The frames of compiled libraries contain such paths, relative to the build folder."""
_plugins: list[Path] = []
"""Files and folders that count as the user's code even if they are installed."""


@dataclass
class Notes:
    """Facts about an exception that its traceback does not contain."""

    owner: str | None = None
    """Owner of the code that raised the exception: "head 'mine'"."""
    when: str | None = None
    """When the exception was raised: "in step 3"."""
    location: traceback.FrameSummary | None = None
    """Definition of the user's function, if it could not be called with the given arguments."""


class ErrorsAttributedTo:
    """Context that records the owner of the code in exceptions from the user's code; the innermost context decides.

    Args:
        owner: description of the code that is called in the context, such as "head 'mine'".
        function: the function that is called. If it does not accept the arguments, the traceback has no frame of the
            function, and its definition is shown instead.
    """

    def __init__(self, owner: str, function: object = None) -> None:
        self._owner = owner
        self._function = function

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is None or (notes := _notes_of(error)).owner is not None:
            return
        if find_user_frame(error) is not None:
            notes.owner = self._owner
        elif isinstance(error, TypeError) and (location := _find_definition(self._function)) is not None:
            notes.owner, notes.location = self._owner, location


class ErrorsOccurring:
    """Context that records in exceptions when they were raised; the innermost context decides.

    Args:
        when: description of the time, such as "in step 3".
    """

    def __init__(self, when: str) -> None:
        self._when = when

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is not None:
            record_when(error, self._when)


def record_when(error: BaseException, when: str) -> None:
    """Record when an exception was raised, unless this is already recorded."""
    notes = _notes_of(error)
    notes.when = notes.when or when


def treat_as_user_code(path: Path) -> None:
    """Treat a file or folder as the user's code, wherever it is installed."""
    _plugins.append(path.resolve())


def find_user_frame(error: BaseException) -> traceback.FrameSummary | None:
    """Return the innermost frame of user code that Midway called, in the traceback of an exception or of its causes.

    For a syntax error in the user's code, return the line with the error. The user's own code is all code that is
    neither Midway's, nor the standard library's, nor installed, except for plugins.
    """
    for each in _with_causes(error):
        if isinstance(each, SyntaxError) and each.filename and is_user_code(each.filename):
            return traceback.FrameSummary(each.filename, each.lineno, "", lookup_line=False, line=each.text)
        frames = traceback.extract_tb(each.__traceback__)
        is_midway = [is_midway_code(frame.filename) for frame in frames]
        if any(is_midway):
            inner = [frame for frame in frames[is_midway.index(True) :] if is_user_code(frame.filename)]
            if inner:
                return inner[-1]
    return None


def describe(error: BaseException) -> str | None:
    """Describe an exception from the user's code in a few lines, or return None for other exceptions.

    The lines contain the owner of the code, the time, the exception, and the line of the user's code.
    """
    location = find_user_frame(error)
    notes = Notes()
    for each in _with_causes(error):
        recorded = vars(each).get(_NOTES, Notes())
        notes.owner, notes.when = notes.owner or recorded.owner, notes.when or recorded.when
        location = location or recorded.location
    if location is None:
        return None
    context = ", ".join(filter(None, (notes.owner, notes.when)))
    function = f", in {location.name}" if location.name else ""
    lines = [
        f"{context}: {describe_plainly(error)}" if context else describe_plainly(error),
        f'  File "{location.filename}", line {location.lineno}{function}',
        *([f"    {location.line.strip()}"] if location.line else []),
    ]
    return "\n".join(lines)


def describe_plainly(error: BaseException) -> str:
    """Return the class and message of an exception, on one line."""
    message = " ".join(error.msg.split()) if isinstance(error, SyntaxError) else " ".join(str(error).split())
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def is_user_code(filename: str) -> bool:
    """Return whether a source file is the user's own."""
    is_compiled = filename.endswith(_CYTHON) and not Path(filename).exists()
    if filename.startswith(_CELL):
        return True
    if filename.startswith("<") or is_compiled:  # code without a source file
        return False
    if _is_below(filename, _plugins):
        return True
    parts = Path(filename).parts
    return not (
        _is_below(filename, (*_MIDWAY, _STANDARD_LIBRARY))
        or any(part in _INSTALLED or part.startswith(_GENERATED) for part in parts)
    )


def is_midway_code(filename: str) -> bool:
    """Return whether a source file belongs to Midway."""
    return _is_below(filename, _MIDWAY)


def hash_user_code(function: object) -> str | None:
    """Return a hash of the file that defines a function or class, or None for Midway's own code.

    For a function or class in a notebook, the hash of its cell is returned. For a function that is defined neither in a
    file nor in a cell, the hash of its bytecode is returned.

    Raises:
        ValueError: if the source cannot be found.
    """
    has_code = inspect.isclass(function) or inspect.isroutine(function)
    try:
        source = inspect.getsourcefile(function if has_code else type(function))  # type: ignore[arg-type]
    except (TypeError, OSError):  # defined in an interactive session, without a file
        source = None
    if source is not None and is_midway_code(source):
        return None
    if source is not None and Path(source).is_file():
        return hashlib.sha256(Path(source).read_bytes()).hexdigest()
    functions = vars(function).values() if inspect.isclass(function) else (function,)
    codes = [each.__code__ for each in map(inspect.unwrap, functions) if hasattr(each, "__code__")]
    cell = (
        "".join(linecache.getlines(codes[0].co_filename)) if codes else ""
    )  # IPython stores the source of cells there
    if cell:
        return hashlib.sha256(cell.encode()).hexdigest()
    if not codes or inspect.isclass(function):
        raise ValueError(f"Cannot find the code of {function!r}; define it in a file.")
    code = codes[0]
    return hashlib.sha256(code.co_code + repr((code.co_consts, code.co_names)).encode()).hexdigest()


def is_raised_by_user_code(error: BaseException) -> bool:
    """Return whether the user's own code raised an exception, rather than code that it called."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and is_user_code(frames[-1].filename)


def describe_location(function: object) -> str:
    """Return the location of a user's function, in parentheses after a space; empty if it is not the user's."""
    location = _find_definition(function)
    return "" if location is None else f' ({location.name}: file "{location.filename}", line {location.lineno})'


_NOTES = "_midway_notes"


def _notes_of(error: BaseException) -> Notes:
    notes: Notes = vars(error).setdefault(_NOTES, Notes())
    return notes


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__


def _is_below(filename: str, folders: Any) -> bool:
    path = Path(filename).resolve()
    return any(path == folder or folder in path.parents for folder in folders)


def _find_definition(function: object) -> traceback.FrameSummary | None:
    """Return where a user's function or method is defined, or None if it is not the user's."""
    unwrapped = inspect.unwrap(function) if callable(function) else None
    code = getattr(getattr(unwrapped, "__func__", unwrapped), "__code__", None)
    if code is None or not is_user_code(code.co_filename):
        return None
    linecache.checkcache(code.co_filename)  # the file may have changed since its lines were last read
    return traceback.FrameSummary(code.co_filename, code.co_firstlineno, code.co_name)

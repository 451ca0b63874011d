"""Descriptions of exceptions: the owner of the code, when it was called, and the line that raised the exception."""

from __future__ import annotations

import json
import linecache
import math
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from heads.mean import MeanHead
from research.data.prepare.cache import fetch
from research.settings.times import parse_time
from research.system.user_code import (
    ErrorsAttributedTo,
    ErrorsOccurring,
    describe,
    describe_location,
    describe_plainly,
    find_user_frame,
    hash_user_code,
    is_midway_code,
    is_raised_by_user_code,
    is_user_code,
    record_when,
    treat_as_user_code,
)


def user_function() -> None:
    raise KeyError("mine")


CallAndCatch = Callable[[Callable[[], object]], BaseException]


@pytest.fixture
def call_and_catch(tmp_path: Path) -> CallAndCatch:
    """Return a function that calls a given function from Midway's own code and returns the exception it raises."""

    def call(function: Callable[[], object]) -> BaseException:
        with pytest.raises(Exception) as error_info:  # noqa: PT011
            # `fetch` stands for any function of Midway that calls user code.
            fetch(tmp_path, "test", "key", lambda target: function())  # type: ignore[arg-type, return-value]
        return error_info.value

    return call


def test_find_user_frame_returns_the_innermost_frame_of_user_code(call_and_catch: CallAndCatch) -> None:
    frame = find_user_frame(call_and_catch(user_function))
    assert frame is not None
    assert (frame.filename, frame.name, frame.line) == (__file__, "user_function", 'raise KeyError("mine")')
    caller = find_user_frame(call_and_catch(lambda: json.loads("{")))  # the line of user code that called the library
    assert caller is not None
    assert (caller.filename, caller.name) == (__file__, "<lambda>")


def test_find_user_frame_searches_the_causes(call_and_catch: CallAndCatch) -> None:
    error = RuntimeError("without a traceback of its own")
    error.__cause__ = call_and_catch(user_function)
    frame = find_user_frame(error)
    assert frame is not None
    assert frame.name == "user_function"
    error.__cause__ = error
    assert find_user_frame(error) is None  # a cycle of causes ends the search


def test_describe_ignores_user_code_that_midway_did_not_call() -> None:
    with pytest.raises(KeyError) as error_info:
        user_function()
    assert find_user_frame(error_info.value) is None
    assert describe(error_info.value) is None


def test_innermost_owner_and_time_are_described(call_and_catch: CallAndCatch) -> None:
    def inner() -> None:
        with ErrorsAttributedTo("edit 'inner'"), ErrorsOccurring("in step 4"):
            raise call_and_catch(user_function)

    def outer() -> None:
        with ErrorsAttributedTo("hook 'outer'"), ErrorsOccurring("after step 4"):
            inner()

    lines = (describe(call_and_catch(outer)) or "").splitlines()
    assert lines[0] == "edit 'inner', in step 4: KeyError: 'mine'"
    assert lines[1].startswith(f'  File "{__file__}", line ')
    assert lines[2] == '    raise KeyError("mine")'
    assert len(lines) == 3


def test_record_when_keeps_the_first_description(call_and_catch: CallAndCatch) -> None:
    error = call_and_catch(user_function)
    record_when(error, "in step 1")
    record_when(error, "later")
    assert (describe(error) or "").startswith("in step 1: KeyError: ")


def test_owner_is_not_recorded_for_errors_raised_by_midway(call_and_catch: CallAndCatch) -> None:
    with pytest.raises(ValueError, match="'50'") as error_info, ErrorsAttributedTo("head 'mine'"):
        parse_time("50")
    assert describe(error_info.value) is None


def test_failed_call_is_located_at_the_definition_of_the_function() -> None:
    def needs_two(first: int, second: int) -> None:
        """Never runs."""

    with pytest.raises(TypeError) as error_info, ErrorsAttributedTo("hook 'mine'", needs_two):
        needs_two(1)  # type: ignore[call-arg]
    assert describe_location(needs_two).startswith(" (needs_two: file ")
    # Functions written in C and functions of Midway have no location to show.
    assert describe_location(math.sqrt) == describe_location(parse_time) == ""
    described = describe(error_info.value) or ""
    assert described.startswith("hook 'mine': TypeError: ")
    assert described.splitlines()[1].endswith("in needs_two")


def test_describe_plainly_returns_one_line() -> None:
    assert describe_plainly(ValueError("a\n b")) == "ValueError: a b"
    assert describe_plainly(KeyError()) == "KeyError"
    with pytest.raises(SyntaxError) as error_info:
        compile("def f(:\n", "mine.py", "exec")
    assert describe_plainly(error_info.value) == f"SyntaxError: {error_info.value.msg}"


def test_is_user_code_distinguishes_user_midway_and_library_files(tmp_path: Path) -> None:
    midway_file, user_file = parse_time.__code__.co_filename, str(tmp_path / "plugin.py")
    assert (is_midway_code(midway_file), is_user_code(midway_file)) == (True, False)
    assert (is_midway_code(user_file), is_user_code(user_file)) == (False, True)
    for path in (json.__file__, pytest.__file__, "<string>", "built/somewhere/reader.pyx"):
        assert (is_midway_code(path), is_user_code(path)) == (False, False)


def test_treat_as_user_code_applies_to_installed_files(tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "mine"
    assert not is_user_code(str(package / "head.py"))
    treat_as_user_code(package)
    assert is_user_code(str(package / "head.py"))
    assert not is_user_code(str(package.with_name("other") / "head.py"))


def test_is_raised_by_user_code_is_false_for_errors_in_libraries() -> None:
    with pytest.raises(KeyError) as user_error:
        user_function()
    assert is_raised_by_user_code(user_error.value)
    with pytest.raises(json.JSONDecodeError) as library_error:
        json.loads("{")
    assert not is_raised_by_user_code(library_error.value)
    assert not is_raised_by_user_code(KeyError("never raised"))


def write_and_load(path: Path, code: str) -> Any:
    """Write a plugin to `path`, and return its function `f`."""
    path.write_text(code)
    names: dict[str, Any] = {"__name__": "plugin"}
    exec(compile(code, str(path), "exec"), names)
    return names["f"]


def test_hash_user_code_changes_with_the_file_and_is_none_for_midways_code(tmp_path: Path) -> None:
    function = write_and_load(tmp_path / "plugin.py", "def f(): return 1\n")
    before = hash_user_code(function)
    assert before == hash_user_code(function)
    assert hash_user_code(write_and_load(tmp_path / "plugin.py", "def f(): return 1  # changed\n")) != before
    assert hash_user_code(MeanHead) is hash_user_code(parse_time) is None


def test_hash_of_user_code_without_a_file_depends_on_constants(tmp_path: Path) -> None:
    codes = ["def f(): return 1", "def f(): return 2", "def f(): return 1"]
    hashes = []
    for number, code in enumerate(codes):
        path = tmp_path / f"{number}.py"
        function = write_and_load(path, code)
        path.unlink()
        hashes.append(hash_user_code(function))
    assert hashes[0] == hashes[2] != hashes[1]
    with pytest.raises(ValueError, match="sqrt"):
        hash_user_code(math.sqrt)


def run_cell(monkeypatch: pytest.MonkeyPatch, name: str, code: str) -> dict[str, Any]:
    """Run code as IPython runs a cell, with its source in `linecache`, and return the names that it defines."""
    monkeypatch.setitem(linecache.cache, name, (len(code), None, code.splitlines(keepends=True), name))
    main = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    exec(compile(code, name, "exec"), vars(main))
    return vars(main)


def test_hash_of_code_in_a_notebook_depends_on_the_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = []
    for run, number in enumerate((1, 2, 1)):
        code = f"class Mine:\n    def method(self):\n        return {number}\n\ndef f(): return 0\n"
        names = run_cell(monkeypatch, f"<ipython-input-{run}-0>", code)
        hashes.append(hash_user_code(names["Mine"]))
        assert hash_user_code(names["f"]) == hashes[-1]
    assert hashes[0] == hashes[2] != hashes[1]
    assert is_user_code("<ipython-input-0-0>")
    with pytest.raises(ValueError, match=r"Empty.*define it in a file"):
        hash_user_code(run_cell(monkeypatch, "<ipython-input-3-0>", "class Empty: pass")["Empty"])

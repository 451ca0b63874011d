"""If the system or a library cannot read a file, report the error in one line that names the file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pyarrow as pa
import pytest

from research.data.sources.reading import convert_read_errors, describe_briefly, make_errors_printable
from tests.messages import in_order


def test_convert_read_errors_keeps_the_path_in_a_system_error(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match=in_order(tmp_path / "missing", os.strerror(errno.ENOENT))),
        convert_read_errors("data"),
    ):
        (tmp_path / "missing").read_text()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.EIO, "ignored"), f"data: {os.strerror(errno.EIO)}."),
        (OSError("half a page."), "data: it is damaged (half a page)."),
        (pa.ArrowInvalid("bad offsets\nin column 2"), "data: it is damaged (bad offsets"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "data: it is damaged ("),
    ],
)
def test_convert_read_errors_adds_the_name_to_errors_without_a_file(error: Exception, expected: str) -> None:
    with pytest.raises(ValueError, match=in_order(expected)) as caught, convert_read_errors("data"):
        raise error
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is error


def test_convert_read_errors_does_not_change_errors_unrelated_to_files() -> None:
    with pytest.raises(KeyError), convert_read_errors("data"):
        raise KeyError("text")


def test_describe_briefly_returns_one_line_without_full_stop() -> None:
    assert describe_briefly(FileNotFoundError(errno.ENOENT, "ignored", "file")) == os.strerror(errno.ENOENT)
    assert describe_briefly(ValueError("first\nsecond.")).count("\n") == 0
    assert describe_briefly(ValueError("it is odd.")) == "it is odd"


def test_make_errors_printable_keeps_the_error_class() -> None:
    class CustomError(ValueError):
        pass

    with pytest.raises(CustomError, match=in_order(r"a\nb\x1b[2J")) as caught, make_errors_printable():
        raise CustomError("a\nb\x1b[2J")
    assert str(caught.value).isprintable()

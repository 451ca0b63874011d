"""Read the lines of text files in any encoding."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from research.data.sources.compression import open_bytes

_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_UNMARKED_UTF16 = {"utf-16-le": re.compile(rb"([^\0]\0){2}"), "utf-16-be": re.compile(rb"(\0[^\0]){2}")}
"""Patterns for the start of UTF-16 text without a byte order mark. They match text that begins with two Latin-1
characters, as headers and JSON do."""
_UNDECODED = re.compile("[\udc80-\udcff]")
"""The surrogates that `surrogateescape` substitutes for bytes that cannot be decoded."""


def open_text(path: Path, encoding: str | None = None) -> io.TextIOWrapper:
    """Open a text file, which may be compressed. Bytes that cannot be decoded become lone surrogates.

    Args:
        path: the file.
        encoding: its encoding. None means UTF-8, or UTF-16 if the file starts with a UTF-16 byte order mark. A byte
            order mark is removed from the text, whether or not an encoding is given.
    Raises:
        ValueError: if no encoding is given and the file looks like UTF-16 without a byte order mark.
    """
    stream = open_bytes(path)
    try:
        name = codecs.lookup(encoding or "utf-8").name
        start = stream.peek(4)[:4]
        is_marked = start[:2] in _UTF16_MARKS
        if is_marked and (encoding is None or name in ("utf-16-le", "utf-16-be")):
            name = "utf-16"
        elif encoding is None and (
            matches := [name for name, pattern in _UNMARKED_UTF16.items() if pattern.match(start)]
        ):
            raise ValueError(
                f"{path.name} looks like UTF-16 without a byte order mark. Set the encoding: --encoding {matches[0]}."
            )
        elif name == "utf-8":
            name = "utf-8-sig"
        return io.TextIOWrapper(stream, name, errors="surrogateescape", newline="\n")
    except ValueError:
        stream.close()
        raise


def has_undecoded(text: str) -> bool:
    """Return whether a text contains bytes that could not be decoded."""
    return not text.isascii() and _UNDECODED.search(text) is not None


def refuse_undecodable(path: Path, encoding: str, line: int, error: UnicodeError) -> NoReturn:
    """Raise a ValueError because the rest of a file cannot be decoded, for example after invalid bytes in UTF-16.

    Args:
        path: the file.
        encoding: its encoding.
        line: number of the last line that could be decoded.
        error: error of the decoder.
    """
    raise ValueError(
        f"{path.name} is not valid {encoding} after line {line:,} ({error}). Set the encoding of the file with "
        "--encoding."
    ) from None


class Lines:
    """The lines of a file. Iteration counts the lines and records whether some bytes could not be decoded.

    Args:
        path: the file.
        encoding: its encoding. None means UTF-8, or UTF-16 if the file starts with a UTF-16 byte order mark.
    """

    def __init__(self, path: Path, encoding: str | None = None) -> None:
        self._path = path
        self._encoding = encoding
        self.line_number = 0
        """Number of the last line that was read, from 1; 0 if no line has been read."""
        self.last_content = ""
        """Content of the last line that was read."""
        self._has_undecoded = False

    def __iter__(self) -> Iterator[str]:
        with open_text(self._path, self._encoding) as file:
            while True:
                try:
                    content = next(file)
                except StopIteration:
                    return
                except UnicodeError as error:
                    refuse_undecodable(self._path, file.encoding, self.line_number, error)
                self.line_number += 1
                self.last_content = content
                if has_undecoded(content):
                    self._has_undecoded = True
                yield content

    def pop_undecoded(self) -> bool:
        """Return whether any line read since the previous call has bytes that could not be decoded."""
        had_undecoded, self._has_undecoded = self._has_undecoded, False
        return had_undecoded

"""Lines of text files in any encoding."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path

_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_UNDECODED = re.compile("[\udc80-\udcff]")
"""Bytes that are not of the encoding, as `surrogateescape` stands them in."""


def check_encoding(name: str) -> None:
    """Refuse an encoding that Python does not know.

    Raises:
        ValueError: naming it.
    """
    try:
        codecs.lookup(name)
    except LookupError:
        raise ValueError(
            f"Unknown encoding '{name}'. Common ones: utf-8, utf-16, latin-1, cp1252, gb18030, shift_jis."
        ) from None


class Lines:
    """The lines of a file as text, numbered; remembers whether one of them had bytes that are not of the encoding.

    Args:
        path: the file.
        encoding: its encoding; None is UTF-8, or UTF-16 if the file begins with UTF-16's byte order mark.
    """

    def __init__(self, path: Path, encoding: str | None = None) -> None:
        self._path = path
        self._encoding = encoding
        self.line = 0
        """Number of the latest line, from 1."""
        self._has_undecoded = False

    def __iter__(self) -> Iterator[str]:
        encoding = self._encoding or _detect(self._path)
        with self._path.open(encoding=encoding, errors="surrogateescape", newline="\n") as file:
            while True:
                try:
                    content = next(file)
                except StopIteration:
                    return
                except UnicodeError as error:  # UTF-16 and the like cannot go on after a broken character
                    raise ValueError(
                        f"{self._path.name} is not valid {encoding} after line {self.line:,} ({error}); name its "
                        "encoding with --encoding."
                    ) from None
                self.line += 1
                if not content.isascii() and _UNDECODED.search(content):
                    self._has_undecoded = True
                yield content

    def take_undecoded(self) -> bool:
        """Return whether a line since the last call had bytes that are not of the encoding."""
        found, self._has_undecoded = self._has_undecoded, False
        return found


def _detect(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(2)
    return "utf-16" if start in _UTF16_MARKS else "utf-8-sig"

"""Lines of text files in any encoding."""

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
"""How text in UTF-16 begins without a byte order mark, if its first letters are Latin: as headers and JSON do."""
_UNDECODED = re.compile("[\udc80-\udcff]")
"""Bytes that are not of the encoding, as `surrogateescape` stands them in."""


def open_text(path: Path, encoding: str | None = None) -> io.TextIOWrapper:
    """Open a text file, which may be compressed; bytes that are not of the encoding become halves of surrogates.

    Args:
        path: the file.
        encoding: its encoding; None is UTF-8, or UTF-16 if the file begins with UTF-16's byte order mark. The mark is
            no part of the text, whether the encoding was named or not.
    Raises:
        ValueError: if no encoding is named and the file is in UTF-16 without this mark.
    """
    stream = open_bytes(path)
    try:
        name = codecs.lookup(encoding or "utf-8").name
        start = stream.peek(4)[:4]
        is_marked = start[:2] in _UTF16_MARKS
        if is_marked and (encoding is None or name in ("utf-16-le", "utf-16-be")):
            name = "utf-16"
        elif encoding is None and (found := [name for name, form in _UNMARKED_UTF16.items() if form.match(start)]):
            raise ValueError(
                f"{path.name} looks like UTF-16 without a byte order mark: name it (--encoding {found[0]})."
            )
        elif name == "utf-8":
            name = "utf-8-sig"
        return io.TextIOWrapper(stream, name, errors="surrogateescape", newline="\n")
    except ValueError:
        stream.close()
        raise


def has_undecoded(text: str) -> bool:
    """Return whether some bytes of a text were not of the encoding."""
    return not text.isascii() and _UNDECODED.search(text) is not None


def refuse_undecodable(path: Path, encoding: str, line: int, error: UnicodeError) -> NoReturn:
    """Refuse a file in an encoding that cannot go on after a broken character, as UTF-16 and the like."""
    raise ValueError(
        f"{path.name} is not valid {encoding} after line {line:,} ({error}); name its encoding with --encoding."
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
        self.latest = ""
        """The latest line."""
        self._has_undecoded = False

    def __iter__(self) -> Iterator[str]:
        with open_text(self._path, self._encoding) as file:
            while True:
                try:
                    content = next(file)
                except StopIteration:
                    return
                except UnicodeError as error:
                    refuse_undecodable(self._path, file.encoding, self.line, error)
                self.line += 1
                self.latest = content
                if has_undecoded(content):
                    self._has_undecoded = True
                yield content

    def take_undecoded(self) -> bool:
        """Return whether a line since the last call had bytes that are not of the encoding."""
        found, self._has_undecoded = self._has_undecoded, False
        return found

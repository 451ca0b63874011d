"""JSON values of a text that is read a piece at a time, so that a list of any length takes little memory."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from research.data.sources.lines import has_undecoded

_CHUNK = 2**16
"""Characters per read."""
_LONGEST_WORD = 12
"""Characters, at the end of what was read, that may be part of a number, a word or an escape that goes on."""
_SPACES = re.compile(r"[ \t\r\n]*")


class JsonError(ValueError):
    """Something that is not JSON, after which nothing else can be read."""


@dataclass(frozen=True)
class Element:
    """An element of a list."""

    line: int
    """The line that it begins in."""
    value: Any
    """The value, decoded."""
    repeated: str | None
    """The name that an object in it has more than one value for."""
    has_undecoded: bool
    """Whether some of its bytes were not of the encoding."""


class JsonStream:
    """Decodes one value after another.

    Args:
        read: returns up to so many of the next characters, and none at the end.
    """

    def __init__(self, read: Callable[[int], str]) -> None:
        self._read = read
        self._buffer = ""
        self._position = 0
        self._at_end = False
        self._repeated: str | None = None
        self._decoder = json.JSONDecoder(object_pairs_hook=self._build_object)
        self.line = 1
        """Number of the line that comes next, from 1."""

    def peek(self) -> str:
        """Return the next character that is no space, or nothing at the end."""
        while True:
            spaces = _SPACES.match(self._buffer, self._position)
            assert spaces is not None
            self._advance(spaces.end())
            if self._position < len(self._buffer):
                return self._buffer[self._position]
            if not self._read_more():
                return ""

    def take(self, expected: str) -> None:
        """Move past the next character, which is one of `expected`.

        Raises:
            JsonError: if it is another one.
        """
        found = self.peek()
        if not found:
            raise JsonError(f"line {self.line:,}: the file ends before its JSON does; it is cut off")
        if found not in expected:
            raise JsonError(f"line {self.line:,}: expected {' or '.join(map(repr, expected))}, found {found!r}")
        self._advance(self._position + 1)

    def value(self) -> Element:
        """Return the next value.

        Raises:
            JsonError: if it is not JSON.
        """
        if not self.peek():
            raise JsonError(f"line {self.line:,}: the file ends before its JSON does; it is cut off")
        while True:
            start = self._position
            self._repeated = None
            try:
                value, end = self._decoder.raw_decode(self._buffer, start)
            except json.JSONDecodeError as error:
                goes_on = error.pos >= len(self._buffer) - _LONGEST_WORD or error.msg.startswith("Unterminated string")
                if goes_on and self._read_more():
                    continue
                line = self.line + self._buffer.count("\n", start, error.pos)
                raise JsonError(f"line {line:,}: invalid JSON ({error.msg})") from None
            except (ValueError, RecursionError) as error:  # numbers of thousands of digits, lists in lists in lists
                raise JsonError(f"line {self.line:,}: invalid JSON ({error})") from None
            if end >= len(self._buffer) - _LONGEST_WORD and self._read_more():  # a number may go on
                continue
            element = Element(self.line, value, self._repeated, has_undecoded(self._buffer[start:end]))
            self._advance(end)
            return element

    def elements(self) -> Iterator[Element]:
        """Yield the elements of a list, whose opening bracket comes next, and move past its end.

        Raises:
            JsonError: at what is not JSON.
        """
        self.take("[")
        if self.peek() == "]":
            self.take("]")
            return
        while True:
            yield self.value()
            is_last = self.peek() == "]"
            self.take(",]")
            if is_last:
                return

    def _build_object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        built = dict(pairs)
        if len(built) < len(pairs):
            names = [name for name, _ in pairs]
            self._repeated = next(name for name in names if names.count(name) > 1)
        return built

    def _advance(self, position: int) -> None:
        self.line += self._buffer.count("\n", self._position, position)
        self._position = position

    def _read_more(self) -> bool:
        """Append to the buffer, as much again as is left, so that a long value is not decoded from too many pieces."""
        if self._at_end:
            return False
        num_left = len(self._buffer) - self._position
        more = self._read(max(_CHUNK, num_left))
        if not more:
            self._at_end = True
            return False
        self._buffer = self._buffer[self._position :] + more
        self._position = 0
        return True

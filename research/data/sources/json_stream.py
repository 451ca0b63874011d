"""Decode JSON values from a text that is read in chunks, so that a list of any length takes little memory."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from research.data.sources.lines import has_undecoded

_CHUNK_SIZE = 2**16
"""Minimum number of characters per read."""
_MAX_TOKEN_LENGTH = 12
"""Number of characters at the end of the buffer that may belong to an incomplete number, literal or escape sequence."""
_SPACES = re.compile(r"[ \t\r\n]*")


class JsonError(ValueError):
    """Raised for invalid JSON. Nothing after the invalid part can be read."""


@dataclass(frozen=True)
class Element:
    """A decoded value, such as an element of a list."""

    line: int
    """Number of its first line, from 1."""
    value: Any
    """The decoded value."""
    duplicate_key: str | None
    """A key that occurs more than once in the same object; None if there is none."""
    has_undecoded: bool
    """Whether some of its bytes could not be decoded."""


class JsonStream:
    """Decoder of a sequence of JSON values.

    Args:
        read: function that returns the next characters of the text, at most as many as its argument; "" at the end.
    """

    def __init__(self, read: Callable[[int], str]) -> None:
        self._read = read
        self._buffer = ""
        self._position = 0
        self._at_end = False
        self._duplicate_key: str | None = None
        self._decoder = json.JSONDecoder(object_pairs_hook=self._build_object)
        self.line = 1
        """Number of the line of the next character, from 1."""

    def peek(self) -> str:
        """Return the next character that is not whitespace, or an empty string at the end."""
        while True:
            spaces = _SPACES.match(self._buffer, self._position)
            assert spaces is not None
            self._advance(spaces.end())
            if self._position < len(self._buffer):
                return self._buffer[self._position]
            if not self._read_more():
                return ""

    def expect(self, characters: str) -> None:
        """Skip whitespace and move past the next character, which must be one of `characters`.

        Raises:
            JsonError: if the next character is not one of them.
        """
        character = self.peek()
        if not character:
            raise JsonError(f"line {self.line:,}: unexpected end of the file; it is truncated")
        if character not in characters:
            raise JsonError(f"line {self.line:,}: expected {' or '.join(map(repr, characters))}, found {character!r}")
        self._advance(self._position + 1)

    def read_value(self) -> Element:
        """Return the next value and move past it.

        Raises:
            JsonError: if the value is not valid JSON.
        """
        if not self.peek():
            raise JsonError(f"line {self.line:,}: unexpected end of the file; it is truncated")
        while True:
            start = self._position
            self._duplicate_key = None
            try:
                value, end = self._decoder.raw_decode(self._buffer, start)
            except json.JSONDecodeError as error:
                at_buffer_end = error.pos >= len(self._buffer) - _MAX_TOKEN_LENGTH
                is_incomplete = at_buffer_end or error.msg.startswith("Unterminated string")
                if is_incomplete and self._read_more():
                    continue
                line = self.line + self._buffer.count("\n", start, error.pos)
                raise JsonError(f"line {line:,}: invalid JSON ({error.msg})") from None
            except (ValueError, RecursionError) as error:  # numbers of thousands of digits, deeply nested lists
                raise JsonError(f"line {self.line:,}: invalid JSON ({error})") from None
            if end >= len(self._buffer) - _MAX_TOKEN_LENGTH and self._read_more():  # a number may continue
                continue
            element = Element(self.line, value, self._duplicate_key, has_undecoded(self._buffer[start:end]))
            self._advance(end)
            return element

    def read_elements(self) -> Iterator[Element]:
        """Yield the elements of a list and move past its end. The list's opening bracket must be next.

        Raises:
            JsonError: if the list or an element is not valid JSON.
        """
        self.expect("[")
        if self.peek() == "]":
            self.expect("]")
            return
        while True:
            yield self.read_value()
            is_last = self.peek() == "]"
            self.expect(",]")
            if is_last:
                return

    def _build_object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        """Return the object with these keys and values, and record a key that occurs more than once."""
        parsed = dict(pairs)
        if len(parsed) < len(pairs):
            names = [name for name, _ in pairs]
            self._duplicate_key = next(name for name in names if names.count(name) > 1)
        return parsed

    def _advance(self, position: int) -> None:
        """Move to a position in the buffer, and count the lines in between."""
        self.line += self._buffer.count("\n", self._position, position)
        self._position = position

    def _read_more(self) -> bool:
        """Read more characters into the buffer, and return whether there were any.

        Each read requests at least as many characters as the buffer still holds. Decoding starts again after each read,
        so this keeps the number of restarts small for long values.
        """
        if self._at_end:
            return False
        num_left = len(self._buffer) - self._position
        chunk = self._read(max(_CHUNK_SIZE, num_left))
        if not chunk:
            self._at_end = True
            return False
        self._buffer = self._buffer[self._position :] + chunk
        self._position = 0
        return True

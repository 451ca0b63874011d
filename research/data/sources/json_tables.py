"""Read jsonl and json files, and report what is wrong with each bad row."""

from __future__ import annotations

import functools
import itertools
import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from research.data.sources.base import FileSource, register_data
from research.data.sources.compression import check_text
from research.data.sources.json_stream import JsonError, JsonStream
from research.data.sources.lines import Lines, open_text, refuse_undecodable
from research.data.sources.tables import Report, Table
from research.data.sources.text_format import TextFormat

_MAX_PROBED = 100
"""Maximum number of objects that are read to find the columns."""
_NOT_AN_OBJECT = "not a JSON object"


class JsonTable(Table):
    """A file of JSON objects, one per row.

    Args:
        path: the file.
        name: its name in messages.
        text_format: settings for reading text files.
    """

    sampled_columns = True
    _expected: str
    """Description of the expected layout, for the end of an error message."""

    def __init__(self, path: Path, name: str, text_format: TextFormat | None = None) -> None:
        super().__init__(name)
        self.path = path
        self._format = text_format or TextFormat()

    @abstractmethod
    def objects(self) -> Iterator[tuple[int, dict[str, Any] | str]]:
        """Yield for each row its line number, and its object or the reason why it cannot be read."""

    def _probe_columns(self) -> dict[str, bool]:
        """Return the columns of the first rows, and for each column whether any of these rows has a string in it."""
        check_text(self.path, self.name)
        columns: dict[str, bool] = {}
        problem: str | None = None
        num_objects = 0
        for line, parsed in self.objects():
            if isinstance(parsed, str):
                problem = problem or f" (line {line:,}: {parsed})"
                continue
            for name, value in parsed.items():
                columns[name] = columns.get(name, False) or isinstance(value, str)
            num_objects += 1
            if num_objects == _MAX_PROBED:
                break
        if not columns:
            raise ValueError(f"{self.name} has no JSON objects{problem or ''}; {self._expected}")
        return columns

    def columns(self) -> list[str]:
        return list(self._probe_columns())

    def string_columns(self) -> list[str]:
        return [name for name, has_string in self._probe_columns().items() if has_string]

    def rows(self, columns: Sequence[str], report: Report) -> Iterator[tuple[int, int, Sequence[Any]]]:
        for row, (line, parsed) in enumerate(self.objects(), 1):
            if isinstance(parsed, str):
                report(row, line, parsed)
            else:
                yield row, line, [parsed.get(column) for column in columns]


class JsonLinesTable(JsonTable):
    """A file with one JSON object per line; blank lines are ignored."""

    _expected = "expected one per line. If the file holds a list of objects, its name must end in .json."

    def objects(self) -> Iterator[tuple[int, dict[str, Any] | str]]:
        lines = Lines(self.path, self._format.encoding)
        for content in lines:
            if content.isspace():
                continue
            if lines.pop_undecoded():
                yield lines.line_number, self._format.undecoded_reason
                continue
            try:
                parsed = json.loads(content, object_pairs_hook=_build_object)
            except (ValueError, RecursionError) as error:
                yield lines.line_number, f"invalid JSON ({error})"
                continue
            yield lines.line_number, parsed if isinstance(parsed, dict) else _NOT_AN_OBJECT


class JsonListTable(JsonLinesTable):
    """A file with a list of objects, an object whose only key holds such a list, or one object per line."""

    _expected = (
        "expected a list of objects, one object per line, or an object whose only key holds the list (with pandas: "
        'to_json(orient="records")).'
    )

    def objects(self) -> Iterator[tuple[int, dict[str, Any] | str]]:
        if self._layout == "lines":
            yield from super().objects()
            return
        with self._open() as stream:
            if self._layout == "wrapped":
                _enter_object(stream)
            for element in stream.read_elements():
                if element.has_undecoded:
                    yield element.line, self._format.undecoded_reason
                elif element.duplicate_key is not None:
                    yield element.line, f"invalid JSON ({_describe_duplicate(element.duplicate_key)})"
                else:
                    yield element.line, element.value if isinstance(element.value, dict) else _NOT_AN_OBJECT
            if self._layout == "wrapped":
                stream.expect("}")
            if character := stream.peek():
                raise JsonError(
                    f"line {stream.line:,}: expected the end of the file after the list, found {character!r}"
                )

    @functools.cached_property
    def _layout(self) -> Literal["list", "wrapped", "lines"]:
        """Layout of the file.

        Raises:
            ValueError: if the file has none of these layouts.
        """
        with self._open() as stream:
            start = stream.peek()
        if start == "[":
            return "list"
        if start != "{":
            raise ValueError(f"{self.name} begins with {start!r}; {self._expected}")
        try:
            if self._is_wrapped():
                return "wrapped"
        except ValueError:
            if self._has_line_objects():
                return "lines"
            raise
        if self._has_line_objects():
            return "lines"
        raise ValueError(f"{self.name} holds a single JSON object that is not a row; {self._expected}")

    def _is_wrapped(self) -> bool:
        """Return whether the file is an object whose only key holds a list of objects."""
        with self._open() as stream:
            if not _enter_object(stream) or stream.peek() != "[":
                return False
            is_first = True
            for element in stream.read_elements():
                if is_first and not isinstance(element.value, dict):
                    return False
                is_first = False
            return not is_first and stream.peek() == "}"

    def _has_line_objects(self) -> bool:
        """Return whether the first two lines contain an object that is a row.

        If the file has only one line, its object may also hold all rows, and is then not a row.
        """
        lines = (content for content in Lines(self.path, self._format.encoding) if not content.isspace())
        parsed = [_parse(content) for content in itertools.islice(lines, 2)]
        objects = [value for value in parsed if isinstance(value, dict)]
        return bool(objects) and (len(parsed) > 1 or not _holds_rows(objects[0]))

    @contextmanager
    def _open(self) -> Iterator[JsonStream]:
        """Open the file as a stream of JSON values, and add the file's name to the errors of the stream."""
        with open_text(self.path, self._format.encoding) as file:
            stream = JsonStream(file.read)
            try:
                yield stream
            except JsonError as error:
                raise ValueError(
                    f"{self.name}, {error}. The rows after this line cannot be read; correct the file."
                ) from None
            except UnicodeError as error:
                refuse_undecodable(self.path, file.encoding, stream.line, error)


def _enter_object(stream: JsonStream) -> bool:
    """Move to the value of an object's first key, and return whether there is such a key."""
    stream.expect("{")
    if stream.peek() != '"':
        return False
    stream.read_value()  # the key
    stream.expect(":")
    return True


def _parse(content: str) -> Any:
    """Return the JSON value of a line; None if the line is not valid JSON."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _holds_rows(parsed: Mapping[str, Any]) -> bool:
    """Return whether the only object of a file contains rows or columns, and is not a row itself.

    A row has at least one string and no nested objects.
    """
    nested = any(
        isinstance(value, dict) or (isinstance(value, list) and any(isinstance(element, dict) for element in value))
        for value in parsed.values()
    )
    return nested or not any(isinstance(value, str) for value in parsed.values())


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object with these keys and values.

    Raises:
        ValueError: if a key occurs more than once.
    """
    parsed = dict(pairs)
    if len(parsed) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(_describe_duplicate(next(name for name in names if names.count(name) > 1)))
    return parsed


def _describe_duplicate(key: str) -> str:
    return f"duplicate key {key!r}"


@register_data("jsonl")
class JsonLinesSource(FileSource):
    """Files with one JSON object per line."""

    suffixes = (".jsonl", ".ndjson")
    format_settings = ("encoding",)

    def open_table(self, path: Path, name: str, text_format: TextFormat) -> Table:
        return JsonLinesTable(path, name, text_format)


@register_data("json")
class JsonListSource(FileSource):
    """Files with a list of JSON objects, an object whose only key holds such a list, or one object per line."""

    suffixes = (".json",)
    may_be_metadata = True
    format_settings = ("encoding",)

    def open_table(self, path: Path, name: str, text_format: TextFormat) -> Table:
        return JsonListTable(path, name, text_format)

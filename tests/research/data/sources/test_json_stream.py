"""Decode JSON from a stream. The values do not depend on the size of the chunks that are read."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from research.data.sources.json_stream import JsonError, JsonStream

VALUES: list[Any] = [
    12,
    -1.5e3,
    True,
    None,
    float("-inf"),
    "",
    '\\" \n\u0000 é \U0001f600 }]',
    {"a": [1, {"b": []}]},
    [],
    7,
]


def make_stream(content: str, chunk_size: int) -> JsonStream:
    file = io.StringIO(content)
    return JsonStream(lambda _: file.read(chunk_size))


@pytest.mark.parametrize("chunk_size", [1, 2, 3, 7, 1000])
def test_stream_decodes_chunks_of_any_size(chunk_size: int) -> None:
    stream = make_stream("[\n" + ",\n\n".join(map(json.dumps, VALUES)) + "\n]\n", chunk_size)
    elements = list(stream.read_elements())
    assert [element.value for element in elements] == VALUES
    assert [element.line for element in elements] == [2 + 2 * number for number in range(len(VALUES))]
    assert stream.peek() == ""
    assert stream.line == 2 + 2 * len(VALUES)


@pytest.mark.parametrize("chunk_size", [1, 5, 1000])
@pytest.mark.parametrize(
    "content", ["[1 2]", "[1,]", "[1", '["a', "[tru]", '["\\x"]', "[1,\n\n}", '[{"a": "\\ud8"}]', ""]
)
def test_stream_refuses_invalid_json_in_chunks_of_any_size(chunk_size: int, content: str) -> None:
    last_line = 1 + content.count("\n")
    with pytest.raises(JsonError, match=f"line {last_line}: "):
        list(make_stream(content, chunk_size).read_elements())

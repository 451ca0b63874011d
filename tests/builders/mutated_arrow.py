"""Mutations of Arrow tables. They add columns of all types and the unusual metadata that some programs write."""

from __future__ import annotations

import contextlib
import decimal
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tests.builders.good_files import Sheet

Mutation = Callable[[pa.Table, np.random.Generator], pa.Table]


class _ForeignType(pa.ExtensionType):
    """An extension type that is not registered with Arrow, so that readers do not know it."""

    def __init__(self) -> None:
        super().__init__(pa.string(), "somebody.elses")

    def __arrow_ext_serialize__(self) -> bytes:
        return b"\xff not JSON"

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> pa.ExtensionType:
        del storage_type, serialized
        return cls()


def to_arrow_table(sheet: Sheet) -> pa.Table:
    """Convert a sheet to an Arrow table.

    Arrow infers the type of each column. If it cannot, the values become strings. The declared label names are
    stored in the metadata, in the format of the `datasets` library.
    """
    arrays = [_as_array(values) for values in sheet.columns.values()]
    names = [name.encode("utf-8", "replace").decode() for name in sheet.columns]
    table = pa.Table.from_arrays(arrays, names=names)
    if not sheet.label_names:
        return table
    features: dict[str, Any] = {name: {"dtype": "string", "_type": "Value"} for name in names}
    features["label"] = {"names": list(sheet.label_names), "_type": "ClassLabel"}
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def _as_array(values: list[Any]) -> pa.Array:
    with contextlib.suppress(pa.ArrowException, TypeError, ValueError, OverflowError):
        return pa.array(values)
    texts = [None if value is None else str(value).encode("utf-8", "surrogatepass") for value in values]
    array = pa.array(texts, pa.binary())
    # Reinterpreting the binary buffers as strings skips the UTF-8 check, as some programs that write Arrow files do.
    return pa.StringArray.from_buffers(len(array), array.buffers()[1], array.buffers()[2], array.buffers()[0])


def _retype_column(table: pa.Table, generator: np.random.Generator) -> pa.Table:
    """Replace a column with a column of a random type, or append such a column."""
    # The text and label columns are chosen twice as often as other columns.
    names = [*table.column_names, *(name for name in ("text", "label") if name in table.column_names)]
    index = table.column_names.index(names[generator.integers(len(names))])
    array = make_array(table.num_rows, table.column(index).combine_chunks(), generator)
    if generator.random() < 0.3:
        return table.append_column("unused", array)
    return table.set_column(index, table.column_names[index], array)


def make_array(num_rows: int, old: pa.Array, generator: np.random.Generator) -> pa.Array:
    """Return an array of a random Arrow type.

    Args:
        num_rows: length of the array.
        old: the array to replace; some of the new arrays reuse its values or its type.
        generator: generator for the random choice.
    """
    numbers = list(range(num_rows))
    texts = [f"good film {row}" for row in numbers]
    makers: tuple[Callable[[], pa.Array], ...] = (
        lambda: pa.array([[("k", row)] for row in numbers], pa.map_(pa.string(), pa.int64())),
        lambda: pa.array([[row] for row in numbers], pa.list_view(pa.int64())),
        lambda: pa.array([["a"] for _ in numbers], pa.large_list_view(pa.string())),
        lambda: pa.array([[row % 2, 1 - row % 2] for row in numbers], pa.list_(pa.int8(), 2)),
        lambda: pa.array([["odd", "even"][: row % 3] for row in numbers], pa.large_list(pa.string())),
        lambda: pa.array([[[row]] for row in numbers]),
        lambda: pa.array([{"a": row, "b": None} for row in numbers]),
        lambda: pa.array([{} for _ in numbers], pa.struct([])),
        old.dictionary_encode,
        lambda: pa.array([f"label {row % 2}" for row in numbers]).dictionary_encode(),
        lambda: pa.DictionaryArray.from_arrays(pa.nulls(num_rows, pa.int8()), pa.array([], pa.string())),
        lambda: pa.array([decimal.Decimal(row % 2) for row in numbers], pa.decimal128(5, 2)),
        lambda: pa.array([decimal.Decimal(row) for row in numbers], pa.decimal256(60, 2)),
        lambda: pa.array(numbers, pa.duration("ns")),
        lambda: pa.array([2**62] * num_rows, pa.duration("s")),
        lambda: pa.array(numbers, pa.date32()),
        lambda: pa.array([2**40] * num_rows, pa.date64()),
        lambda: pa.array([2**30] * num_rows, pa.int32()).cast(pa.date32()),
        lambda: pa.array(numbers, pa.time64("ns")),
        lambda: pa.array([10**18 + 1] * num_rows, pa.timestamp("ns")),
        lambda: pa.array([2**60] * num_rows, pa.timestamp("ms")),
        lambda: pa.array(numbers, pa.timestamp("us", tz="Mars/Base")),
        lambda: pa.array([(1, 2, 3)] * num_rows, pa.month_day_nano_interval()),
        lambda: pa.array(texts, pa.large_string()),
        lambda: pa.array(texts, pa.string_view()),
        lambda: pa.array([text.encode() for text in texts], pa.binary()),
        lambda: pa.array([text.encode() for text in texts], pa.binary_view()),
        lambda: pa.array([b"ab"] * num_rows, pa.binary(2)),
        lambda: pa.RunEndEncodedArray.from_arrays([num_rows], ["good"]),
        lambda: pa.nulls(num_rows),
        lambda: pa.nulls(num_rows, old.type),
        lambda: pa.array([row % 2 == 1 for row in numbers]),
        lambda: pa.array([2**64 - 1 - row % 2 for row in numbers], pa.uint64()),
        lambda: pa.array([np.float16(row % 2) for row in numbers], pa.float16()),
        lambda: pa.array([float(row % 2) for row in numbers], pa.float32()),
        lambda: pa.array([float("nan")] * num_rows),
        lambda: pa.array([float("inf") if row % 2 else 0.5 for row in numbers]),
        lambda: pa.array([-1 if row % 5 == 0 else row % 2 for row in numbers]),
        lambda: pa.array([row % 3 + 7 for row in numbers]),
        lambda: pa.array(pd.period_range("2024-01", periods=num_rows, freq="M")),
        lambda: pa.array(pd.arrays.IntervalArray.from_breaks(range(num_rows + 1))),
        lambda: pa.ExtensionArray.from_storage(_ForeignType(), pa.array(texts)),
        lambda: pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(16)] * num_rows, pa.binary(16))),
        lambda: pa.ExtensionArray.from_storage(pa.json_(), pa.array(["{}"] * num_rows)),
        lambda: pa.ExtensionArray.from_storage(pa.bool8(), pa.array([row % 2 for row in numbers], pa.int8())),
        lambda: pa.UnionArray.from_sparse(
            pa.array([row % 2 for row in numbers], pa.int8()), [pa.array(numbers), pa.array(texts)]
        ),
    )
    return makers[generator.integers(len(makers))]()


def _change_huggingface_metadata(table: pa.Table, generator: np.random.Generator) -> pa.Table:
    label = {"names": ["negative", "positive"], "_type": "ClassLabel"}
    text_features = {name: {"dtype": "string", "_type": "Value"} for name in table.column_names if name != "label"}
    metadata_choices: tuple[Any, ...] = (
        b"not JSON",
        b"\xff\xfe",
        b"",
        b"[" * 100_000,
        b'{"info": {"features": {"label": {"_type": "ClassLabel", "names": ["a", "half \\ud800"]}}}}',
        None,
        [],
        "text",
        {},
        {"info": None},
        {"info": []},
        {"info": {"features": None}},
        {"info": {"features": []}},
        {"info": {"features": {"label": None}}},
        {"info": {"features": {"label": "ClassLabel"}}},
        {"info": {"features": {"label": label}}},
        {"info": {"features": text_features | {"label": label | {"_type": "FutureLabel"}}}},
        {"info": {"features": text_features | {"day": {"_type": "FutureDay", "unit": 7}, "label": label}}},
        {"info": {"features": text_features | {"label": label | {"names": None}}}},
        {"info": {"features": text_features | {"label": label | {"names": "negative"}}}},
        {"info": {"features": text_features | {"label": label | {"names": [1, 2]}}}},
        {"info": {"features": text_features | {"label": label | {"names": [None, {}]}}}},
        {"info": {"features": text_features | {"label": label | {"names": ["a", "a"]}}}},
        {"info": {"features": text_features | {"label": label | {"names": []}}}},
        {"info": {"features": text_features | {"label": label | {"names": ["one"]}}}},
        {"info": {"features": text_features | {"label": label | {"names": ["a\nb", "\x1b[31m"]}}}},
        {"info": {"features": text_features | {"label": {"_type": "ClassLabel", "num_classes": 2}}}},
        {"info": {"features": text_features | {"label": {"_type": "ClassLabel", "num_classes": "two"}}}},
        {"info": {"features": text_features | {"label": {"feature": label, "_type": "Sequence"}}}},
        {"info": {"features": text_features | {"label": [label]}}},
        {"info": {"features": text_features | {"label": {"dtype": "complex512", "_type": "Value"}}}},
        {"info": {"features": text_features | {"label": label | {"unknown": 1}}}},
        {"info": {"features": {"another": label}}},
    )
    metadata = metadata_choices[generator.integers(len(metadata_choices))]
    content = metadata if isinstance(metadata, bytes) else json.dumps(metadata).encode()
    return table.replace_schema_metadata({**(table.schema.metadata or {}), b"huggingface": content})


def _replace_metadata(table: pa.Table, generator: np.random.Generator) -> pa.Table:
    """Replace all metadata with invalid metadata of pandas or Arrow, or with an unusual key or value."""
    choices = (
        {b"pandas": b"not JSON"},
        {b"pandas": json.dumps({"index_columns": ["nowhere"], "columns": None}).encode()},
        {b"ARROW:schema": b"not base64"},
        {b"ARROW:schema": b"AAAA"},
        {b"\xff": b"\xff"},
        {b"big": b"x" * 1_000_000},
    )
    return table.replace_schema_metadata(choices[generator.integers(len(choices))])


def _change_field_metadata(table: pa.Table, generator: np.random.Generator) -> pa.Table:
    """Declare a wrong extension type for a column."""
    names = (b"arrow.uuid", b"arrow.json", b"pandas.period", b"arrow.fixed_shape_tensor", b"somebody.elses", b"\xff")
    index = int(generator.integers(table.num_columns))
    declared = {
        b"ARROW:extension:name": names[generator.integers(len(names))],
        b"ARROW:extension:metadata": b"not JSON",
    }
    field = table.schema.field(index).with_metadata(declared)
    return pa.Table.from_arrays(table.columns, schema=table.schema.set(index, field))


def _split_into_chunks(table: pa.Table, generator: np.random.Generator) -> pa.Table:
    """Split the rows into chunks, which may be empty. Rows after the last chunk are dropped."""
    cuts = sorted(int(cut) for cut in generator.integers(0, table.num_rows + 1, size=4))
    return pa.concat_tables(table.slice(start, stop - start) for start, stop in zip([0, *cuts], cuts, strict=False))


ARROW_MUTATIONS: tuple[Mutation, ...] = (
    _retype_column,
    _retype_column,
    _retype_column,
    _change_huggingface_metadata,
    _change_huggingface_metadata,
    _replace_metadata,
    _change_field_metadata,
    _split_into_chunks,
)
"""Mutations to choose from. A mutation that is listed several times is chosen more often."""

"""Mutations of the values and columns of a sheet, before it is written to a file."""

from __future__ import annotations

import decimal
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.builders.good_files import Sheet

Mutation = Callable[[Sheet, np.random.Generator], None]

ODD_VALUES: tuple[Any, ...] = (
    None,
    "",
    " ",
    "nan",
    "NaN",
    "null",
    "\0",
    "two\nlines",
    "two\r\nlines",
    "\r",
    "\x1b[31mred",
    "next\x85line\u2028and\u2029",
    "half \ud800",
    "\udcff",
    "\u202ebackwards",
    "\ufeff",
    '"',
    '"open',
    "a,b;c|d/e\tf",
    "=1+1",
    "x" * 200_000,
    "very " * 50_000,
    True,
    False,
    0,
    -1,
    2,
    10**19,
    10**400,
    0.5,
    -0.0,
    float("nan"),
    float("inf"),
    float("-inf"),
    1e308,
    "1e999",
    "inf",
    "01",
    "\u0661",  # an Arabic-Indic digit 1
    "²",
    "1_000",
    "0x10",
    [],
    [""],
    [None],
    [[]],
    ["odd", "odd"],
    ["half \ud800"],
    [1, 0],
    [float("nan")],
    {},
    {"a": {"b": [1]}},
    {"": None},
)
"""Values that some file types or readers treat specially, or cannot store."""
ODD_NAMES = (
    "",
    " ",
    "Text",
    "text",
    "label",
    "labels",
    "sentence",
    "te\nxt",
    "te\rxt",
    "\0",
    "\x1b[2J",
    "half \ud800",
    "\u202e",
    "x" * 100_000,
    "a,b",
    "ﬁeld",  # begins with a ligature, which is a single character
)


def _drop_column(sheet: Sheet, generator: np.random.Generator) -> None:
    if len(sheet.columns) > 1:
        del sheet.columns[_choose_column(sheet, generator)]


def _rename_column(sheet: Sheet, generator: np.random.Generator) -> None:
    old, new = _choose_column(sheet, generator), ODD_NAMES[generator.integers(len(ODD_NAMES))]
    sheet.columns = {new if name == old else name: values for name, values in sheet.columns.items()}


def _reorder_columns(sheet: Sheet, generator: np.random.Generator) -> None:
    names = list(sheet.columns)
    sheet.columns = {names[index]: sheet.columns[names[index]] for index in generator.permutation(len(names))}


def _put_odd_values(sheet: Sheet, generator: np.random.Generator) -> None:
    values = sheet.columns[_choose_column(sheet, generator)]
    for _ in range(generator.integers(1, 6)):
        if values:
            values[generator.integers(len(values))] = ODD_VALUES[generator.integers(len(ODD_VALUES))]


def _fill_with_odd_values(sheet: Sheet, generator: np.random.Generator) -> None:
    """Fill a column with one to three odd values in turn."""
    name = _choose_column(sheet, generator)
    indices = generator.integers(len(ODD_VALUES), size=generator.integers(1, 4))
    sheet.columns[name] = [ODD_VALUES[indices[row % len(indices)]] for row in range(sheet.num_rows)]


def _retype_column(sheet: Sheet, generator: np.random.Generator) -> None:
    name = _choose_column(sheet, generator)
    makers: tuple[Callable[[int], Any], ...] = (
        float,
        str,
        bool,
        lambda row: [row % 2, 1 - row % 2],
        lambda row: [row % 2] * (row % 3),
        lambda row: {"id": row},
        lambda row: None,
        lambda row: f"label {row}",
        lambda row: ("a", 1, 2.5, None, True)[row % 5],
        lambda row: float("nan") if row % 3 else 1.0,
        lambda row: "2024-02-29",
        lambda row: str(decimal.Decimal(row) / 7),
        lambda row: f"{row:03}",
        lambda row: f"{row % 3}.0",
        lambda row: 10**18 + row,
    )
    make_value = makers[generator.integers(len(makers))]
    sheet.columns[name] = [make_value(row) for row in range(sheet.num_rows)]


def _change_rows(sheet: Sheet, generator: np.random.Generator) -> None:
    """Keep at most five rows, or repeat all rows 20 times."""
    num_kept = (0, 1, 2, 3, 5)[generator.integers(5)]
    repeats = 20 if generator.random() < 0.3 else 1
    sheet.columns = {
        name: values * repeats if repeats > 1 else values[:num_kept] for name, values in sheet.columns.items()
    }


def _add_column(sheet: Sheet, generator: np.random.Generator) -> None:
    names = (*ODD_NAMES, "sentence1", "review", "score")
    name = names[generator.integers(len(names))]
    values = sheet.columns[_choose_column(sheet, generator)]
    sheet.columns[name] = list(values)


def _choose_column(sheet: Sheet, generator: np.random.Generator) -> str:
    """Return the name of a random column. The text and label columns are more likely than other columns."""
    names = [*sheet.columns, *(name for name in ("text", "label", "label") if name in sheet.columns)]
    return names[generator.integers(len(names))]


SHEET_MUTATIONS: tuple[Mutation, ...] = (
    _drop_column,
    _rename_column,
    _reorder_columns,
    _put_odd_values,
    _put_odd_values,
    _fill_with_odd_values,
    _retype_column,
    _change_rows,
    _add_column,
)
"""Mutations to choose from. A mutation that is listed several times is chosen more often."""

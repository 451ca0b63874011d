"""Options and the checks of their values, read from source code without importing it."""

from __future__ import annotations

import ast
import inspect
from typing import Any, Literal

import pytest

from research.runner.first_checks.source_options import check_values, read_options

SOURCE = """
def head(self, encoder, *, size: int = 8, kind: Literal["a", "b"] = "a", share: float, other: Unknown = None):
    require_positive(size=size)
    if share > size:
        raise ValueError(f"Expected share up to {size}, got {share}.")
    share = encoder.hidden_size
    if share < 0:
        raise ValueError("needs the encoder")
    if encoder.hidden_size < size:
        raise ValueError("needs the encoder")
"""


def parse_function(source: str) -> ast.FunctionDef:
    (statement,) = ast.parse(source).body
    assert isinstance(statement, ast.FunctionDef)
    return statement


def test_read_options_returns_keyword_only_parameters() -> None:
    options = [(option.name, option.type, option.default) for option in read_options(parse_function(SOURCE))]
    assert options == [
        ("size", int, 8),
        ("kind", Literal["a", "b"], "a"),
        ("share", float, inspect.Parameter.empty),
        ("other", Any, None),
    ]
    assert read_options(None) == ()  # a head, hook and so on without a function that has options


def test_read_options_of_an_edit_returns_all_parameters_except_the_first() -> None:
    function = parse_function("def scale(run, factor: float, modules: Selector = 'all'): pass")
    options = read_options(function, from_second_on=True)
    assert [(option.name, option.default) for option in options] == [
        ("factor", inspect.Parameter.empty),
        ("modules", "all"),
    ]
    assert read_options(function) == ()


@pytest.mark.parametrize(
    ("values", "message"),
    [({"size": 0, "share": 0.0}, r"size .*\b0\b"), ({"size": 2, "share": 2.5}, r"share up to 2, got 2\.5")],
)
def test_check_values_runs_the_checks_in_the_source(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_values(parse_function(SOURCE), values)


def test_check_values_skips_checks_that_depend_on_more_than_the_options() -> None:
    check_values(parse_function(SOURCE), {"size": 2, "share": -1.0})  # the check of `share < 0` follows an assignment
    check_values(None, {"size": 0})  # no function, and thus no checks

"""Types of settings: checks and descriptions."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from research.settings.value_types import accepts, alternatives, describe_type


def test_alternatives_flattens_nested_types() -> None:
    assert alternatives(Literal["a", "b"] | int | None) == ("a", "b", int, type(None))
    assert alternatives(str) == (str,)


@pytest.mark.parametrize(
    ("type_hint", "accepted", "rejected"),
    [
        (int, [0, -3], [True, 1.0, "1", None]),
        (float, [1, 0.5], [True, "0.5"]),
        (bool, [True], [1, "true"]),
        (int | None, [3, None], ["3"]),
        (Literal["adamw", "sgd"], ["sgd"], ["SGD", None]),
        (list[str], [[], ["a"]], ["a", ("a",)]),
        (str | dict[str, Any], ["a", {"a": 1}], [["a"]]),
    ],
)
def test_accepts_checks_the_type_of_a_value(type_hint: Any, accepted: list[Any], rejected: list[Any]) -> None:
    assert [value for value in accepted if not accepts(type_hint, value)] == []
    assert [value for value in rejected if accepts(type_hint, value)] == []


def test_describe_type_lists_every_alternative() -> None:
    assert describe_type(Literal["a", "b", "c"]) == "a, b or c"
    assert describe_type(int | None).endswith(" int or null")
    assert describe_type(list[str]) == "a list"

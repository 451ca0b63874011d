"""Messages for values of the wrong type."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from jsonargparse import ArgumentError, ArgumentParser

from research.settings.type_errors import describe_type_error

KINDS: dict[str, Any] = {"lr": float, "optimizer": Literal["adamw", "sgd"], "seed": int | None}


@pytest.mark.parametrize(
    ("name", "value", "taken", "hint"),
    [
        ("lr", "fast", "float", None),
        ("optimizer", "sdg", "adamw or sgd", "sgd"),
        ("optimizer", "zebra", "adamw or sgd", None),
        ("seed", "0.5", "int or null", None),
        ("lr", "two\n\nlines", "float", None),
    ],
)
def test_describe_type_error_names_setting_type_value_and_nearest_choice(
    name: str, value: str, taken: str, hint: str | None
) -> None:
    parser = ArgumentParser(exit_on_error=False)
    for each, kind in KINDS.items():
        parser.add_argument(f"--{each}", type=kind)
    with pytest.raises(ArgumentError) as caught:
        parser.parse_object({name: value})
    described = describe_type_error(caught.value, KINDS)
    assert described.index(name) < described.index(taken) < described.index(f"'{' '.join(value.split())}'")
    assert described.endswith(f"'{hint}'?") == (hint is not None)
    assert "\n" not in described


def test_describe_type_error_shortens_other_errors_to_one_line() -> None:
    error = ArgumentError(None, "something\n  else")
    assert describe_type_error(error, KINDS).endswith("something else")

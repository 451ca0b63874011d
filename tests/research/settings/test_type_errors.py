"""Messages for values of the wrong type."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from jsonargparse import ArgumentError, ArgumentParser

from research.settings.type_errors import describe_type_error

TYPES: dict[str, Any] = {"lr": float, "optimizer": Literal["adamw", "sgd"], "seed": int | None}


@pytest.mark.parametrize(
    ("name", "value", "expected_type", "hint"),
    [
        ("lr", "fast", "float", None),
        ("optimizer", "sdg", "adamw or sgd", "sgd"),
        ("optimizer", "zebra", "adamw or sgd", None),
        ("seed", "0.5", "int or null", None),
        ("lr", "two\n\nlines", "float", None),
    ],
)
def test_message_gives_the_setting_the_expected_type_the_value_and_a_suggestion(
    name: str, value: str, expected_type: str, hint: str | None
) -> None:
    parser = ArgumentParser(exit_on_error=False)
    for setting, type_hint in TYPES.items():
        parser.add_argument(f"--{setting}", type=type_hint)
    with pytest.raises(ArgumentError) as caught:
        parser.parse_object({name: value})
    message = describe_type_error(caught.value, TYPES)
    assert message.index(name) < message.index(expected_type) < message.index(f"'{' '.join(value.split())}'")
    assert message.endswith(f"'{hint}'?") == (hint is not None)
    assert "\n" not in message


def test_describe_type_error_returns_unrecognised_errors_on_one_line() -> None:
    error = ArgumentError(None, "something\n  else")
    assert describe_type_error(error, TYPES).endswith("something else")

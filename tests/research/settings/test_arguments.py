"""Split a command line into flags."""

from __future__ import annotations

from typing import Any

import pytest

from heads.registry import UnknownNameError
from research.settings.arguments import Flag, read_flags

FLAG_TYPES: dict[str, Any] = {
    "lr": float,
    "quick": bool,
    "cache": bool | None,
    "head": str,
    "grid": str,
    "batch_size": int,
}


def read_as_tuples(*arguments: str) -> list[tuple[str, str | None, str]]:
    flags = read_flags(arguments, FLAG_TYPES, with_options=("head",), with_several_values=("grid",))
    return [(flag.name, flag.option, flag.value) for flag in flags]


@pytest.mark.parametrize(
    ("arguments", "flags"),
    [
        (["--lr", "1", "--lr=2"], [("lr", None, "1"), ("lr", None, "2")]),
        (["--batch-size", "4"], [("batch_size", None, "4")]),
        (["--lr", "-1"], [("lr", None, "-1")]),
        (["--lr="], [("lr", None, "")]),
        (["--head=a=b"], [("head", None, "a=b")]),
        (["--quick", "--lr", "1"], [("quick", None, "true"), ("lr", None, "1")]),
        (["--quick", "false"], [("quick", None, "false")]),
        (["--quick=maybe"], [("quick", None, "maybe")]),
        (["--cache", "null", "--cache"], [("cache", None, "null"), ("cache", None, "true")]),
        (["--head.lstm-size", "8", "--head.a.b=1"], [("head", "lstm_size", "8"), ("head", "a.b", "1")]),
        (["--head.", "8"], [("head", "", "8")]),
        (["--grid", "a=1", "b=2", "--grid=c=3"], [("grid", None, "a=1"), ("grid", None, "b=2"), ("grid", None, "c=3")]),
        (["-h", "--help"], [("help", None, "true")] * 2),
        (["--head", "-h"], [("head", None, "-h")]),
        ([], []),
    ],
)
def test_read_flags_returns_names_options_and_values(
    arguments: list[str], flags: list[tuple[str, str | None, str]]
) -> None:
    assert read_as_tuples(*arguments) == flags


def test_read_flags_gives_leading_arguments_to_the_positional_flag() -> None:
    flags = read_flags(["1", "--quick"], FLAG_TYPES, positional="lr")
    assert [str(flag) for flag in flags] == ["--lr=1", "--quick=true"]
    several = ("grid",)
    flags = read_flags(["a=1", "b=2", "--lr", "1"], FLAG_TYPES, with_several_values=several, positional="grid")
    assert [str(flag) for flag in flags] == ["--grid=a=1", "--grid=b=2", "--lr=1"]
    assert read_flags(["--quick"], FLAG_TYPES, with_several_values=several, positional="grid")[0].name == "quick"
    with pytest.raises(ValueError, match="'2'"):
        read_flags(["1", "2"], FLAG_TYPES, positional="lr")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--lr"], ValueError, "--lr needs a value"),
        (["--lr", "--quick"], ValueError, "--lr needs a value"),
        (["--grid", "--quick"], ValueError, "--grid needs a value"),
        (["--head.x"], ValueError, "--head.x needs a value"),
        (["stray"], ValueError, "'stray'"),
        (["--lr", "1", "2"], ValueError, "'2'"),
        (["--quick", "null"], ValueError, "'null'"),  # unlike --cache, --quick cannot be null
        (["--hed", "1"], UnknownNameError, "'--hed'. Did you mean '--head'?"),
        (["--lr.x", "1"], UnknownNameError, "'--lr.x'. Did you mean '--lr'?"),
        (["--"], UnknownNameError, "'--'"),
    ],
)
def test_read_flags_rejects_invalid_arguments(arguments: list[str], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        read_as_tuples(*arguments)
    assert type(caught.value) is error
    assert message in str(caught.value)


def test_read_flags_keeps_the_order() -> None:
    assert read_flags(["--lr", "1", "--quick"], FLAG_TYPES) == [Flag("lr", None, "1"), Flag("quick", None, "true")]

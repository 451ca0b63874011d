"""Options of registered entries: types, checks and descriptions, read from signatures."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

from heads import HEADS
from heads.registry import Registry, UnknownNameError
from research.settings.config import Choice
from research.settings.options import complete_choice, create, describe_entry, options_of, resolve_options

THINGS: Registry[Any] = Registry("thing")


@THINGS.register("typed")
class Typed:
    """Has options of all types.

    Source: none.

    Args:
        size: the size.
        sizes: several,
            over two lines.
    """

    def __init__(
        self,
        place: str,
        *,
        size: int = 3,
        share: float = 0.5,
        wide: bool = False,
        sizes: tuple[int, ...] = (1, 2),
        names: list[str] | None = None,
        mode: Literal["a", "b"] = "a",
    ) -> None:
        self.arguments = (place, size, share, wide, sizes, names, mode)


@THINGS.register("needy")
def needy(*, size: int) -> int:
    """Needs a size."""
    return size


DEFAULTS = {"size": 3, "share": 0.5, "wide": False, "sizes": (1, 2), "names": None, "mode": "a"}


def test_resolve_options_fills_in_defaults() -> None:
    assert resolve_options(THINGS, Choice("typed")) == DEFAULTS


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("size", "7", 7),
        ("size", 7, 7),
        ("share", "1e-3", 0.001),
        ("share", 1, 1.0),
        ("wide", "true", True),
        ("wide", False, False),
        ("sizes", "[4, 5]", (4, 5)),
        ("sizes", [4, 5], (4, 5)),
        ("names", ["x"], ["x"]),
        ("names", None, None),
        ("names", "null", None),
        ("mode", "b", "b"),
    ],
)
def test_resolve_options_converts_strings_and_yaml_values(name: str, value: Any, expected: Any) -> None:
    assert resolve_options(THINGS, Choice("typed", {name: value})) == {**DEFAULTS, name: expected}


@pytest.mark.parametrize(
    ("name", "value"), [("size", "x"), ("size", 1.5), ("wide", "maybe"), ("mode", "c"), ("sizes", "a")]
)
def test_resolve_options_rejects_wrong_types_with_a_one_line_error(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"thing 'typed'.*{name}") as caught:
        resolve_options(THINGS, Choice("typed", {name: value}))
    assert "\n" not in str(caught.value)


def test_resolve_options_suggests_near_names() -> None:
    with pytest.raises(UnknownNameError, match=r"'lstm_sise'.*'lstm_size'\?.*head 'lstm'"):
        resolve_options(HEADS, Choice("lstm", {"lstm_sise": 3}))
    with pytest.raises(UnknownNameError, match=r"thing 'tiped'.*'typed'"):
        resolve_options(THINGS, Choice("tiped"))


def test_missing_required_option_is_named_in_the_error() -> None:
    with pytest.raises(ValueError, match=r"thing 'needy' .*size"):
        resolve_options(THINGS, Choice("needy"))


def test_create_converts_options_from_strings() -> None:
    assert create(THINGS, Choice("needy", {"size": "4"})) == 4


def test_create_passes_positional_arguments_and_options() -> None:
    created = create(THINGS, Choice("typed", {"mode": "b"}), "here")
    # The positional argument, then the options in the order of the constructor.
    assert created.arguments == ("here", 3, 0.5, False, (1, 2), None, "b")


def test_options_of_omits_parameters_that_the_caller_supplies() -> None:
    assert options_of(needy, supplied_parameters=("size",)) == ()


def test_describe_entry_shows_summary_source_and_options() -> None:
    text = describe_entry(Typed, options_of(Typed))
    assert "Has options of all types." in text
    assert "Source: none." in text
    assert "size (int, default: 3)  the size." in text
    assert "sizes (tuple[int, ...], default: (1, 2))  several, over two lines." in text


def test_choice_round_trips_both_yaml_forms() -> None:
    assert Choice.of("lstm", "head").to_yaml() == "lstm"
    assert Choice.of({"name": "lstm", "size": 3}, "head").to_yaml() == {"name": "lstm", "size": 3}


def test_options_of_rejects_unknown_types_only_of_parameters_that_are_options() -> None:
    def with_unknown_positional_type(run: Elsewhere, *, size: int = 3) -> None:  # type: ignore[name-defined]  # noqa: F821
        raise AssertionError

    def with_unknown_option_type(*, size: Elsewhere) -> None:  # type: ignore[name-defined]  # noqa: F821
        raise AssertionError

    assert [option.type for option in options_of(with_unknown_positional_type)] == [int]
    with pytest.raises(ValueError, match=r"with_unknown_option_type .*test_options\.py.*'Elsewhere'"):
        options_of(with_unknown_option_type)


def test_complete_choice_rejects_options_that_a_checkpoint_cannot_store() -> None:
    registry: Registry[Any] = Registry("hook")

    @registry.register("takes_a_path")
    def takes_a_path(*, folder: Path = Path("here")) -> None: ...

    with pytest.raises(ValueError, match="folder"):
        complete_choice(registry, Choice("takes_a_path"))

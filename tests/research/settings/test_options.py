"""Options of registered names: typed, checked and described by their signatures."""

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
    """Takes everything.

    Source: none.

    Args:
        size: how large.
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
        self.given = (place, size, share, wide, sizes, names, mode)


@THINGS.register("needy")
def needy(*, size: int) -> int:
    """Want a size."""
    return size


DEFAULTS = {"size": 3, "share": 0.5, "wide": False, "sizes": (1, 2), "names": None, "mode": "a"}


def test_resolve_options_fills_in_defaults() -> None:
    assert resolve_options(THINGS, Choice("typed")) == DEFAULTS


@pytest.mark.parametrize(
    ("name", "given", "expected"),
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
def test_resolve_options_reads_text_and_yaml_values(name: str, given: Any, expected: Any) -> None:
    assert resolve_options(THINGS, Choice("typed", {name: given})) == {**DEFAULTS, name: expected}


@pytest.mark.parametrize(
    ("name", "given"), [("size", "x"), ("size", 1.5), ("wide", "maybe"), ("mode", "c"), ("sizes", "a")]
)
def test_resolve_options_refuses_wrong_types_in_one_line(name: str, given: Any) -> None:
    with pytest.raises(ValueError, match=f"thing 'typed'.*{name}") as caught:
        resolve_options(THINGS, Choice("typed", {name: given}))
    assert "\n" not in str(caught.value)


def test_resolve_options_answers_misspelt_names() -> None:
    with pytest.raises(UnknownNameError, match=r"head 'lstm' 'lstm_sise'.*'lstm_size'\?"):
        resolve_options(HEADS, Choice("lstm", {"lstm_sise": 3}))
    with pytest.raises(UnknownNameError, match=r"thing 'tiped'.*'typed'"):
        resolve_options(THINGS, Choice("tiped"))


def test_resolve_options_asks_for_required_ones() -> None:
    with pytest.raises(ValueError, match=r"thing 'needy' .*size"):
        resolve_options(THINGS, Choice("needy"))
    assert create(THINGS, Choice("needy", {"size": "4"})) == 4


def test_create_passes_positional_arguments_and_options() -> None:
    assert create(THINGS, Choice("typed", {"mode": "b"}), "here").given == ("here", 3, 0.5, False, (1, 2), None, "b")


def test_options_of_leaves_out_what_the_caller_gives() -> None:
    assert options_of(needy, given_by_caller=("size",)) == ()


def test_describe_entry_shows_summary_source_and_options() -> None:
    text = describe_entry(Typed, options_of(Typed))
    assert "Takes everything." in text
    assert "Source: none." in text
    assert "size (int, default: 3)  how large." in text
    assert "sizes (tuple[int, ...], default: (1, 2))  several, over two lines." in text


def test_choice_reads_and_writes_both_yaml_forms() -> None:
    assert Choice.of("lstm", "head").to_yaml() == "lstm"
    assert Choice.of({"name": "lstm", "size": 3}, "head").to_yaml() == {"name": "lstm", "size": 3}
    with pytest.raises(ValueError, match=r"head .*'name'"):
        Choice.of({"size": 3}, "head")


def test_what_is_no_option_need_not_have_a_type_at_run_time() -> None:
    def mine(run: Elsewhere, *, size: int = 3) -> None:  # type: ignore[name-defined]  # noqa: F821
        raise AssertionError

    def other(*, size: Elsewhere) -> None:  # type: ignore[name-defined]  # noqa: F821
        raise AssertionError

    assert [option.type for option in options_of(mine)] == [int]
    with pytest.raises(ValueError, match=r"other .*test_options\.py.*'Elsewhere'"):
        options_of(other)


def test_option_that_a_checkpoint_cannot_hold_is_refused_before_training() -> None:
    registry: Registry[Any] = Registry("hook")

    @registry.register("holds_a_path")
    def holds_a_path(*, folder: Path = Path("here")) -> None: ...

    with pytest.raises(ValueError, match="folder"):
        complete_choice(registry, Choice("holds_a_path"))

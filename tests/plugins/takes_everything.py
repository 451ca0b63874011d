"""A plugin for the tests: a hook with options of many types."""

from __future__ import annotations

from typing import Literal

from research import Hook, register_hook


@register_hook("takes_everything")
class TakesEverything(Hook):
    """Do nothing but check the types of options that JSON or YAML would change: tuples and integer keys."""

    def __init__(
        self,
        *,
        numbers: tuple[int, ...] = (1, 2),
        pair: tuple[str, float] = ("a", 1.0),
        by_name: dict[str, tuple[int, ...]] = {"a": (1,)},  # noqa: B006
        by_number: dict[int, float] = {1: 0.5},  # noqa: B006
        words: list[str] = ["b"],  # noqa: B006
        maybe: int | None = None,
        kind: Literal["x", "y"] = "x",
        limit: float = float("inf"),
        undefined: float = float("nan"),
        flag: bool = False,
    ) -> None:
        assert isinstance(numbers, tuple)
        assert isinstance(pair, tuple)
        assert all(isinstance(key, int) for key in by_number)

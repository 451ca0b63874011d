"""What a setting declares about itself, beside its type, its default and the docstring below it."""

from __future__ import annotations

import dataclasses
import enum
import functools
import math
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

Default = TypeVar("Default")
_KEY = "declaration"

TIME = "time: 120st (steps), 0.25ep (epochs), 10% (of the run) or 20000ex (examples)"
"""Unit of a span of a run; it may be 0."""
PERIOD = f"{TIME}, above 0"
"""Unit of the time between two events."""


class Effect(enum.Enum):
    """What a changed setting does to a run that is resumed."""

    MEANING = "another run: a resume refuses the change"
    ROWS = "decides which rows there are: a resume refuses the change if the rows differ"
    ROUNDING = "changes how numbers are rounded, or which units dropout drops: a resume reports the change"
    NONE = "changes nothing of what is trained: a resume reports the change"
    INVOCATION = "belongs to one call: never compared, and not part of a recipe that repeats the run"


class Stage(enum.IntEnum):
    """The first thing that a setting changes on the way from files to the encoder's hidden states."""

    ROW_NUMBERS = 1
    """Which row of which file a row's number stands for."""
    ROWS = 2
    """The prepared rows: texts, labels and splits."""
    TOKENS = 3
    """The tokens of the rows, or whether they are accepted."""
    INPUTS = 4
    """How many tokens of a row the encoder reads."""
    HIDDEN_STATES = 5
    """What the encoder returns for them."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The numbers that a setting takes; always finite."""

    above: float | None = None
    """It is greater than this."""
    at_least: float | None = None
    """It is this or more."""
    at_most: float | None = None
    """It is this or less."""
    below: float | None = None
    """It is less than this."""

    def __post_init__(self) -> None:
        assert (self.above is None) != (self.at_least is None), "exactly one lower bound"
        assert self.at_most is None or self.below is None, "at most one upper bound"

    def contain(self, value: float) -> bool:
        """Return whether a number is within the bounds; NaN is not."""
        is_high_enough = value > self.above if self.above is not None else value >= (self.at_least or 0)
        is_low_enough = value <= self.at_most if self.at_most is not None else value < self._upper
        return is_high_enough and is_low_enough

    @property
    def _upper(self) -> float:
        return math.inf if self.below is None else self.below

    def __str__(self) -> str:
        upper = self.at_most if self.below is None else self.below
        if upper is None:
            return f"of {self.at_least} or more" if self.above is None else f"above {self.above}"
        lower = f"from {self.at_least}" if self.above is None else f"above {self.above}"
        return f"{lower} to {upper}" if self.below is None else f"{lower} to below {upper}"


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """What a setting declares."""

    effect: Effect
    """What a changed value does to a run that is resumed."""
    stage: Stage | None = None
    """What it changes first on the way to the encoder's hidden states; None if these do not depend on it."""
    bounds: Bounds | None = None
    """The numbers that it takes; None for what is no number."""
    unit: str | None = None
    """Unit of the number, or form of the text."""
    fixed_in_forks: str | None = None
    """Why a fork must share it with its parent; None if a fork may change it."""
    fixed_in_studies: str | None = None
    """Why all trials of a study share it; None if a grid may vary it."""
    study_alternative: str | None = None
    """What to do in a study, whose command line refuses it; None if it takes it."""
    flags_replace: bool = False
    """Whether flags replace a recipe's list, instead of adding to it."""
    takes_several: bool = False
    """Whether several values may follow one flag."""
    names_arm: bool = False
    """Whether an arm of a study is named after the value alone (lstm, not head=lstm)."""
    null_keeps_checkpoint_value: bool = False
    """Whether null takes the checkpoint's value on resume."""
    read_path: Callable[[str], str] | None = None
    """Returns the path in a value, or in each value of a list, that the run reads; None if values hold no path."""
    affects_feature_cache: bool = False
    """Whether it decides if, or how, hidden states are stored."""

    @property
    def makes_another_trial(self) -> bool:
        """Whether trials with different values are different trials, even if no axis of the grid varies it."""
        return self.effect in (Effect.MEANING, Effect.ROWS) or self.stage is not None

    def decides(self, stage: Stage) -> bool:
        """Return whether something on the way to the encoder's hidden states depends on the setting."""
        return self.stage is not None and self.stage <= stage


def setting(
    default: Default,
    *,
    effect: Effect,
    stage: Stage | None = None,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    unit: str | None = None,
    fixed_in_forks: str | None = None,
    fixed_in_studies: str | None = None,
    study_alternative: str | None = None,
    flags_replace: bool = False,
    takes_several: bool = False,
    names_arm: bool = False,
    null_keeps_checkpoint_value: bool = False,
    read_path: Callable[[str], str] | None = None,
    affects_feature_cache: bool = False,
) -> Default:
    """Return a dataclass field that declares a setting; the parameters are those of `Declaration` and `Bounds`.

    Args:
        default: its default; each instance gets a list of its own.
    """
    has_bounds = above is not None or at_least is not None
    declared = Declaration(
        effect=effect,
        stage=stage,
        bounds=Bounds(above=above, at_least=at_least, at_most=at_most, below=below) if has_bounds else None,
        unit=unit,
        fixed_in_forks=fixed_in_forks,
        fixed_in_studies=fixed_in_studies,
        study_alternative=study_alternative,
        flags_replace=flags_replace,
        takes_several=takes_several,
        names_arm=names_arm,
        null_keeps_checkpoint_value=null_keeps_checkpoint_value,
        read_path=read_path,
        affects_feature_cache=affects_feature_cache,
    )
    if isinstance(default, list):
        return cast("Default", field(default_factory=default.copy, metadata={_KEY: declared}))
    return field(default=default, metadata={_KEY: declared})


@functools.cache
def declarations(group: type[Any]) -> Mapping[str, Declaration]:
    """Return what each setting of a group declares, in the order of its fields.

    Raises:
        TypeError: naming a setting that declares nothing.
    """
    silent = [item.name for item in dataclasses.fields(group) if _KEY not in item.metadata]
    if silent:
        raise TypeError(f"{group.__name__}.{silent[0]} declares nothing: give it its default as setting(default, ...).")
    return types.MappingProxyType({item.name: item.metadata[_KEY] for item in dataclasses.fields(group)})


def check_bounds(name: str, value: float | None, declared: Declaration) -> None:
    """Refuse a number out of a setting's bounds.

    Raises:
        ValueError: naming the setting, its bounds and what was found.
    """
    if declared.bounds is not None and value is not None and not declared.bounds.contain(value):
        raise ValueError(f"Expected {name} {declared.bounds}, got {value}.")

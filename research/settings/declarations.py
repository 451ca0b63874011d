"""What a setting declares about itself, in addition to its type, its default and the docstring below it."""

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
_METADATA_KEY = "declaration"

TIME = "time: 120st (steps), 0.25ep (epochs), 10% (of the run) or 20000ex (examples)"
"""Unit of a length of training; 0 is allowed."""
PERIOD = f"{TIME}, above 0"
"""Unit of the interval between two events."""


class Effect(enum.Enum):
    """Effect of a changed setting on a resumed run."""

    TRAINING = "the change is refused, because the run would train or evaluate differently"
    ROWS = "the change is refused if the rows differ"
    ROUNDING = "the change is reported: numbers are rounded differently, or dropout drops different units"
    TEST = "the change is reported: it affects the tested model and its predictions, but not what is trained"
    NONE = "the change is reported: it does not affect what is trained"
    INVOCATION = "nothing happens: the setting concerns a single invocation, and is not part of a recipe"


class Stage(enum.IntEnum):
    """The results on the way from files to the encoder's hidden states. Each depends on the results before it."""

    ROW_NUMBERS = 1
    """The numbers of the rows: which row of which file each number refers to."""
    ROWS = 2
    """The prepared rows: texts, labels and splits."""
    TOKENS = 3
    """The tokens of the rows, and whether they are accepted."""
    INPUTS = 4
    """The tokens of each row that the encoder reads."""
    HIDDEN_STATES = 5
    """The encoder's output for these tokens."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The range of a numeric setting. Infinity and NaN are always outside."""

    above: float | None = None
    """Exclusive lower bound."""
    at_least: float | None = None
    """Inclusive lower bound."""
    at_most: float | None = None
    """Inclusive upper bound."""
    below: float | None = None
    """Exclusive upper bound."""

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
        lower = f"at least {self.at_least}" if self.above is None else f"above {self.above}"
        upper = self.at_most if self.below is None else self.below
        if upper is None:
            return lower
        return f"{lower} and at most {upper}" if self.below is None else f"{lower} and less than {upper}"


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """Properties of a setting."""

    effect: Effect
    """Effect of a changed value on a resumed run."""
    stage: Stage | None = None
    """First stage on the way to the encoder's hidden states that the setting affects; None if it affects none."""
    bounds: Bounds | None = None
    """Range of the number; None for a setting that is not a number."""
    unit: str | None = None
    """Unit of the number, or format of the string."""
    why_fixed_in_forks: str | None = None
    """Reason why a fork must use its parent's value; None if a fork may change it."""
    why_fixed_in_studies: str | None = None
    """Reason why a study's grid may not vary the setting; None if a grid may vary it."""
    study_alternative: str | None = None
    """For a flag that a study's command line refuses: what to do instead. None if the flag is accepted."""
    flags_replace_list: bool = False
    """Whether flags replace the list of a recipe instead of extending it."""
    takes_several_values: bool = False
    """Whether several values may follow one flag."""
    value_names_arm: bool = False
    """Whether the value alone names an arm of a study (`lstm` instead of `head=lstm`)."""
    null_keeps_checkpoint_value: bool = False
    """Whether null keeps the checkpoint's value on resume."""
    input_path: Callable[[str], str] | None = None
    """Function that returns the path in a value, or in an item of a list: `str` if the whole value is the path. None if
    the run reads no path from the setting."""
    affects_feature_cache: bool = False
    """Whether the setting determines if, or in which format, hidden states are stored."""

    @property
    def distinguishes_trials(self) -> bool:
        """Whether a different value makes a different trial, even if the grid does not vary the setting."""
        return self.effect in (Effect.TRAINING, Effect.ROWS, Effect.TEST) or self.stage is not None

    def affects(self, stage: Stage) -> bool:
        """Return whether the results of a stage depend on the setting."""
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
    why_fixed_in_forks: str | None = None,
    why_fixed_in_studies: str | None = None,
    study_alternative: str | None = None,
    flags_replace_list: bool = False,
    takes_several_values: bool = False,
    value_names_arm: bool = False,
    null_keeps_checkpoint_value: bool = False,
    input_path: Callable[[str], str] | None = None,
    affects_feature_cache: bool = False,
) -> Default:
    """Return a dataclass field that declares a setting. The parameters are those of `Declaration` and `Bounds`.

    Args:
        default: the default value; a list is copied for each instance.
    """
    has_bounds = above is not None or at_least is not None
    declared = Declaration(
        effect=effect,
        stage=stage,
        bounds=Bounds(above=above, at_least=at_least, at_most=at_most, below=below) if has_bounds else None,
        unit=unit,
        why_fixed_in_forks=why_fixed_in_forks,
        why_fixed_in_studies=why_fixed_in_studies,
        study_alternative=study_alternative,
        flags_replace_list=flags_replace_list,
        takes_several_values=takes_several_values,
        value_names_arm=value_names_arm,
        null_keeps_checkpoint_value=null_keeps_checkpoint_value,
        input_path=input_path,
        affects_feature_cache=affects_feature_cache,
    )
    if isinstance(default, list):
        return cast("Default", field(default_factory=default.copy, metadata={_METADATA_KEY: declared}))
    return field(default=default, metadata={_METADATA_KEY: declared})


@functools.cache
def declarations(group: type[Any]) -> Mapping[str, Declaration]:
    """Return the declaration of each setting of a group, in the order of its fields.

    Raises:
        TypeError: if a setting has no declaration; names the setting.
    """
    undeclared = [item.name for item in dataclasses.fields(group) if _METADATA_KEY not in item.metadata]
    if undeclared:
        raise TypeError(
            f"{group.__name__}.{undeclared[0]} has no declaration; its default must be setting(default, ...)."
        )
    return types.MappingProxyType({item.name: item.metadata[_METADATA_KEY] for item in dataclasses.fields(group)})


def check_bounds(name: str, value: float | None, declared: Declaration) -> None:
    """Check that a number is within the bounds of a setting.

    Raises:
        ValueError: naming the setting, its bounds and the value.
    """
    if declared.bounds is not None and value is not None and not declared.bounds.contain(value):
        raise ValueError(f"Expected {name} to be {declared.bounds}; got {value}.")

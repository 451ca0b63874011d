"""The space of a search: the values that each searched setting may have."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from heads.registry import UnknownNameError, describe_unknown
from research.settings.flags import CHOICE_SETTINGS, names_where, setting_types
from research.settings.value_types import alternatives
from research.studies.arm_names import describe_value
from research.studies.compared_rows import row_settings
from research.system.errors import one_line

_RANGE = re.compile(r"(?P<low>(?!\.\.).+?)\.\.(?P<high>.+?)(?P<modifiers>(:[a-z]+(=[^:]+)?)*)")
_NUMBER = re.compile(r"(?P<number>[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?)(?P<unit>%|st|ep|ex)?")
_PLACE = re.compile(r"timeline\[(?P<entry>\d+)\](\.\w+)+")
EXAMPLE = "lr=1e-6..1e-3:log, head=linear,lstm or head.dropout=0..0.5:step=0.1"


@dataclass(frozen=True)
class Range:
    """All numbers between two bounds, which are included."""

    low: float
    """Lower bound."""
    high: float
    """Upper bound."""
    is_log: bool = False
    """Whether equal factors, instead of equal differences, are equally likely at first."""
    step: float | None = None
    """Distance between two neighbouring values; None if all values are possible."""
    unit: str = ""
    """Unit of a time: %, st, ep or ex; empty for a plain number."""
    is_integer: bool = False
    """Whether all values are integers."""

    def to_value(self, number: float) -> Any:
        """Return a number as the value of the setting, such as "12.5%" for a time."""
        return f"{number:.10g}{self.unit}" if self.unit else number

    def to_number(self, value: Any) -> float | int:
        """Return the number in a value of the setting.

        Raises:
            ValueError: if the value is not in the range.
        """
        number = self.read_number(value)
        is_possible = self.low <= number <= self.high and not (self.is_integer and number != int(number))
        if not is_possible or (self.step is not None and not _divides(self.step, number - self.low)):
            raise ValueError(f"Expected a value in {self}, got {value!r}.")
        return int(number) if self.is_integer else number

    def read_number(self, value: Any) -> float:
        """Return the number in a value of the setting, which may be outside the range.

        Raises:
            ValueError: if the value is not a number with the unit of the range.
        """
        match = _NUMBER.fullmatch(str(value).strip())
        if match is None or (match["unit"] or "") != self.unit:
            raise ValueError(f"Expected a number in {self}, got {value!r}.")
        return float(match["number"])

    def __str__(self) -> str:
        modifiers = (":log" if self.is_log else "") + ("" if self.step is None else f":step={self.step:g}")
        return f"{self.low:g}{self.unit}..{self.high:g}{self.unit}{modifiers}"


@dataclass(frozen=True)
class Values:
    """A list of values."""

    values: tuple[Any, ...]
    """The values, as in a recipe."""

    def __str__(self) -> str:
        return ", ".join("null" if value is None else describe_value(value) for value in self.values)


Dimension = Range | Values


def parse_space(space: Mapping[str, Any]) -> dict[str, Dimension]:
    """Parse the values of each searched setting.

    Args:
        space: a range such as "1e-6..1e-3:log", or a list of values, by the name of a setting (`lr`), of an option
            (`head.dropout`) or of a place in the timeline (`timeline[0].at`).
    Raises:
        ValueError: if a name is unknown, or if a range is invalid.
    """
    if not space:
        raise ValueError(f"Expected settings to search, such as {EXAMPLE}; got none.")
    return {name: _parse_dimension(name, values) for name, values in space.items()}


def _parse_dimension(name: str, values: Any) -> Dimension:
    _check_name(name)
    if isinstance(values, list):
        if not values:
            raise ValueError(f"Expected values of {name} to search, got an empty list.")
        return _parse_values(name, values)
    if isinstance(values, str) and (match := _RANGE.fullmatch(values.strip())) is not None:
        return _parse_range(name, values, match)
    raise ValueError(f"Expected a range such as 1e-6..1e-3:log or a list of values for {name}, got {values!r}.")


def _parse_values(name: str, values: list[Any]) -> Values:
    types = alternatives(setting_types().get(name))
    converted = []
    for value in values:
        # YAML reads 1e-5, without a dot, as a string.
        is_number = isinstance(value, str) and float in types and _NUMBER.fullmatch(value) is not None
        converted.append(float(value) if is_number else value)
    for value, later in itertools.combinations(converted, 2):
        if value == later:
            raise ValueError(f"Expected different values of {name} to search; got {value!r} twice.")
    return Values(tuple(converted))


def parse_flag(text: str) -> tuple[str, Any]:
    """Return the name and the values of `--search name=values`, as a study file has them.

    Raises:
        ValueError: if the text is not of this form.
    """
    name, equals, values = text.partition("=")
    if not equals or not values:
        raise ValueError(f"Expected --search in the form {EXAMPLE}; got '{text}'.")
    name = name.strip().replace("-", "_")
    if _RANGE.fullmatch(values.strip()) is not None:
        return name, values
    try:
        return name, yaml.safe_load(f"[{values}]")
    except yaml.YAMLError as error:
        raise ValueError(f"Cannot read the values of {name}, '{values}': {one_line(error)}") from None


def _parse_range(name: str, text: str, match: re.Match[str]) -> Range:
    bounds = [_NUMBER.fullmatch(match[part].strip()) for part in ("low", "high")]
    low, high = bounds
    if low is None or high is None or low["unit"] != high["unit"]:
        raise ValueError(f"Expected two numbers with the same unit in the range of {name}, got '{text}'.")
    is_log, step = False, None
    for modifier in filter(None, match["modifiers"].split(":")):
        key, _, value = modifier.partition("=")
        if key == "log" and not value:
            is_log = True
        elif key == "step" and _NUMBER.fullmatch(value) and float(value) > 0:
            step = float(value)
        else:
            raise ValueError(f"Expected :log or :step=NUMBER after the range of {name}, got ':{modifier}'.")
    parsed = Range(float(low["number"]), float(high["number"]), is_log, step, low["unit"] or "")
    if not parsed.low < parsed.high:
        raise ValueError(f"Expected the range of {name} from low to high, got '{text}'.")
    if is_log and parsed.low <= 0:
        raise ValueError(f"Expected a range above 0 for {name}, because it is logarithmic; got '{text}'.")
    if is_log and step is not None:
        raise ValueError(f"Expected either :log or :step for {name}, got both: '{text}'.")
    return with_type(name, parsed, is_integer=_is_integer(name, parsed))


def with_type(name: str, parsed: Range, *, is_integer: bool) -> Range:
    """Return a range of integers or of all numbers, after checking that its ends are possible values.

    Args:
        name: name of the setting or option.
        parsed: the range.
        is_integer: whether all values are integers.
    Raises:
        ValueError: if they are not.
    """
    numbers = [parsed.low, parsed.high, *([] if parsed.step is None else [parsed.step])]
    if is_integer and not all(map(float.is_integer, numbers)):
        raise ValueError(f"Expected integers in the range of {name}, got '{parsed}'.")
    if parsed.step is not None and not _divides(parsed.step, parsed.high - parsed.low):
        raise ValueError(f"Expected a step that divides the range of {name}, got '{parsed}'.")
    return dataclasses.replace(parsed, is_integer=is_integer)


def _divides(step: float, distance: float) -> bool:
    return math.isclose(distance / step, round(distance / step), abs_tol=1e-9)


def _is_integer(name: str, parsed: Range) -> bool:
    """Return whether a range has integers only: by its unit, by the type of the setting or, for options, by its ends.

    `resolve_option_types` corrects the last case once the types of options are known.
    """
    if parsed.unit:
        return parsed.unit in ("st", "ex")
    if name in setting_types():
        types = alternatives(setting_types()[name])
        return int in types and float not in types
    return parsed.low.is_integer() and parsed.high.is_integer() and (parsed.step or 1.0).is_integer()


def _check_name(name: str) -> None:
    """Check the name of a searched setting, option or place in the timeline.

    Raises:
        UnknownNameError: if a setting is unknown or cannot be searched.
        ValueError: if a place in the timeline is written wrongly, or if a setting changes the validation rows.
    """
    setting_name, dot, _ = name.partition(".")
    if name.startswith("timeline["):
        if _PLACE.fullmatch(name) is None:
            raise ValueError(f"Expected a place in the timeline such as timeline[0].at, got '{name}'.")
        return
    if dot and setting_name in CHOICE_SETTINGS:
        return
    known = [known for known in names_where(lambda declared: declared.why_fixed_in_studies is None) if known != "seed"]
    if name in row_settings("validation"):
        raise ValueError(
            f"Cannot search {name}: configurations with different values of it would be judged on different validation "
            "rows. Give all trials the same one."
        )
    if name not in (*known, "arm", "recipe"):
        raise UnknownNameError(describe_unknown("setting to search", name, known, listed_as="Settings"))

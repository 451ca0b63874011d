"""Propose the trials of a search: a sampler chooses values in its space, which become the settings of a run."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from optuna.samplers import BaseSampler
from optuna.trial import Trial as OptunaTrial

from research.settings.config import Choice
from research.settings.flags import CHOICE_SETTINGS
from research.settings.plugins import import_plugins
from research.studies.arm_names import arm_name
from research.studies.grid import StudySpec, Trial, TrialBuilder, make_id
from research.studies.search.options import has_option, resolve_option_types, split_option
from research.studies.search.optuna_objects import create_sampler, fix_values
from research.studies.search.space import Dimension, Range, Values
from research.studies.search.spec import parse_search
from research.studies.storage.trials import plain

Draw = Callable[[str, Dimension], Any]
"""Function that chooses the value of a setting, given its name and its possible values."""
DEFAULTS = "defaults"
"""Name of the arm with the settings of all trials, without those that are searched."""
_PLACE_PARTS = re.compile(r"\[(\d+)\]|\.(\w+)")


class Proposer:
    """Proposes the trials of a search.

    The n-th trial is a function of the search's seed, of n, and of the results of the trials before it. So a search
    with one worker has the same trials if it is repeated, or interrupted and continued. With the sampler cmaes and the
    pruner hyperband, this does not hold after a process was killed: they depend on a trial's number in the storage,
    which then changes.

    Args:
        spec: specification of the study.
    Raises:
        ValueError: if the space has an option that no choice has, or a point is not in the space.
    """

    def __init__(self, spec: StudySpec) -> None:
        import_plugins(spec.base.get("plugin", []))  # registers the user's heads
        self.search = parse_search(spec.search)
        self.base, self.arms = spec.base, spec.arms
        space = resolve_option_types(self.search.dimensions, spec.base)
        # Choices first, since they determine which options exist.
        self.space = dict(sorted(space.items(), key=lambda item: (item[0] not in CHOICE_SETTINGS, "." in item[0])))
        self._builder = TrialBuilder(spec)
        self._points = [self._encode_point(point) for point in self.search.points]

    def create_sampler(self, rank: int) -> BaseSampler:
        """Return the sampler for one trial.

        Args:
            rank: number of proposed trials before this one; the first trials are the search's points.
        """
        sampler = create_sampler(self.search.sampler_choice, self.search.seed, rank)
        return fix_values(sampler, self._points[rank]) if rank < len(self._points) else sampler

    def propose(self, optuna_trial: OptunaTrial) -> Trial:
        """Return a new trial with values that the sampler of its study chooses."""
        return self.make_trial(self._choose(partial(_draw, optuna_trial)))

    def boundary_trials(self) -> list[Trial]:
        """Return the points, and trials at the boundaries of the space: each listed value, and both ends of ranges."""
        return list({trial.id: trial for trial in map(self.make_trial, self._boundary_values())}.values())

    def default_trial(self) -> Trial:
        """Return a trial with the settings of all trials, without those that are searched."""
        return self.make_trial({})

    def make_trial(self, values: Mapping[str, Any]) -> Trial:
        """Return the trial with the given value of each searched setting.

        Raises:
            ValueError: if a setting is invalid.
        """
        combination = {name: value for name, value in values.items() if "." not in name}
        for name, value in values.items():
            if (parts := split_option(name)) is not None:
                setting_name, option = parts
                chosen: Any = combination.get(setting_name, self.base.get(setting_name))
                choice = Choice.of(chosen, setting_name)
                combination[setting_name] = Choice(choice.name, {**choice.options, option: value}).to_yaml()
            elif "." in name:
                timeline = combination.get("timeline", self.base.get("timeline", []))
                combination["timeline"] = _with_value(timeline, name, value)
        # The test rows are scored when the search is over, and only for the chosen settings.
        settings = {**self._builder.settings_of(combination), "score_test": False}
        axes = {**values, "seed": settings["seed"]}
        named = combination | {name: value for name, value in values.items() if name.startswith("timeline[")}
        arm = arm_name(_rounded(named), [name for name in named if name != "timeline"]) or DEFAULTS
        return Trial(make_id(settings, [*values]), arm, settings["seed"], axes, settings)

    def _choose(self, draw: Draw) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, dimension in self.space.items():
            if self._exists(name, values):
                values[name] = draw(name, dimension)
        return values

    def _exists(self, name: str, values: Mapping[str, Any]) -> bool:
        """Return whether a setting exists with the values chosen so far: options of other heads do not."""
        if (parts := split_option(name)) is None:
            return True
        setting_name, option = parts
        return has_option(setting_name, values.get(setting_name, self.base.get(setting_name)), option)

    def _boundary_values(self) -> list[dict[str, Any]]:
        def choose_with(fixed: Mapping[str, Any]) -> dict[str, Any]:
            return self._choose(lambda name, dimension: fixed.get(name, _boundaries(dimension)[0]))

        ends = [{name: boundary} for name, dimension in self.space.items() for boundary in _boundaries(dimension)]
        return [choose_with(fixed) for fixed in (*self.search.points, *ends)]

    def _encode_point(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """Return a point with values in the form in which Optuna stores them.

        Raises:
            ValueError: if a value is not in the space, or if an option does not belong to the point's choice.
        """
        encoded = {}
        for name, value in point.items():
            parts = split_option(name)
            is_known = parts is not None and (parts[0] in point or parts[0] not in self.space)
            if is_known and not self._exists(name, point):
                raise ValueError(
                    f"The point {dict(point)} has {name}, which is not an option of its {name.partition('.')[0]}."
                )
            try:
                encoded[name] = encode(self.space[name], value)
            except ValueError as error:
                raise ValueError(f"The point {dict(point)} has an invalid {name}. {error}") from None
        return encoded


def encode(dimension: Dimension, value: Any) -> Any:
    """Return a value in the form in which Optuna stores it.

    Raises:
        ValueError: if the value is not in the space.
    """
    if isinstance(dimension, Range):
        return dimension.to_number(value)
    matching = [known for known in dimension.values if plain(known) == plain(value) or str(known) == str(value)]
    if not matching:
        raise ValueError(f"Expected one of {dimension}, got {value!r}.")
    return plain(matching[0])


def _draw(optuna_trial: OptunaTrial, name: str, dimension: Dimension) -> Any:
    if isinstance(dimension, Values):
        choices = {plain(value): value for value in dimension.values}
        return choices[optuna_trial.suggest_categorical(name, list(choices))]
    if dimension.is_integer:
        step = int(dimension.step or 1)
        low, high = int(dimension.low), int(dimension.high)
        return dimension.to_value(optuna_trial.suggest_int(name, low, high, step=step, log=dimension.is_log))
    number = optuna_trial.suggest_float(name, dimension.low, dimension.high, step=dimension.step, log=dimension.is_log)
    return dimension.to_value(number)


def _boundaries(dimension: Dimension) -> list[Any]:
    if isinstance(dimension, Values):
        return list(dimension.values)
    ends = (int(dimension.low), int(dimension.high)) if dimension.is_integer else (dimension.low, dimension.high)
    return [dimension.to_value(end) for end in ends]


def _rounded(value: Any) -> Any:
    """Return a value in which floats are rounded to three digits, for the name of an arm."""
    if isinstance(value, Mapping):
        return {name: _rounded(item) for name, item in value.items()}
    return float(f"{value:.3g}") if isinstance(value, float) else value


def _with_value(timeline: list[dict[str, Any]], place: str, value: Any) -> list[dict[str, Any]]:
    """Return a copy of a timeline with a different value at a place such as `timeline[0].at`.

    Raises:
        ValueError: if the timeline has no such place.
    """
    changed = copy.deepcopy(timeline)
    keys = [int(index) if index else key for index, key in _PLACE_PARTS.findall(place)]
    item: Any = changed
    try:
        for key in keys[:-1]:
            item = item[key]
        if isinstance(item, list) or keys[-1] not in item:
            raise KeyError(keys[-1])
        item[keys[-1]] = value
    except (LookupError, TypeError):
        raise ValueError(f"The timeline of the study, {timeline}, has no {place} to search.") from None
    return changed

"""Which trials a study has: every combination of some settings' values, each a run with an id made of its settings."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import itertools
import json
import re
import typing
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from heads.registry import UnknownNameError, describe_unknown
from research.settings.command_line import (
    check_setting_names,
    fold_options,
    merge_recipes,
    typed_settings,
    typed_value,
)
from research.settings.config import Choice, RunConfig
from research.settings.flags import INSPECTION, declaration_of, names_where, setting_types
from research.system.errors import describe_error, one_line
from research.system.paths import expand_path
from research.tasks.base import TASKS


@dataclass(frozen=True, kw_only=True)
class StudySpec:
    """What a study compares; a YAML file has the same keys."""

    name: str = "study"
    """Name of the study; its directory is runs/<name>."""
    about: str = ""
    """What it asks, in a sentence."""
    base: dict[str, Any] = field(default_factory=dict)
    """Settings of all trials, as in a recipe."""
    arms: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Bundles of settings by name: an axis of its own, called `arm`."""
    grid: dict[str, list[Any]] = field(default_factory=dict)
    """Values of each setting that varies, `seed` among them."""
    exclude: list[dict[str, Any]] = field(default_factory=list)
    """Combinations that are left out: those that have all of an entry's values."""
    override: list[dict[str, Any]] = field(default_factory=list)
    """Settings of some arms: {when: {head: lstm}, set: {lr: 1e-4}}."""
    baseline: str | None = None
    """The arm that the others are compared with; by default the first."""
    metric: str | None = None
    """Metric that is compared; by default accuracy, subset_accuracy or pearson, by the kind of labels."""
    split: Literal["test", "validation"] = "test"
    """Rows that it is measured on."""

    def __post_init__(self) -> None:
        for name, kind in _SPEC_TYPES.items():
            value = getattr(self, name)
            if not isinstance(value, kind) and not (value is None and name in ("baseline", "metric")):
                raise ValueError(f"Expected the study's {name} to be {_DESCRIPTIONS[kind]}; got {value!r}.")
        if self.split not in ("test", "validation"):
            raise ValueError(f"Expected the study's split to be test or validation, got '{self.split}'.")
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)*", self.name) or ".." in self.name.split("/"):
            raise ValueError(f"Expected a study's name for a folder in runs/, got '{self.name}'.")
        known = names_where(lambda declared: declared.fixed_in_studies is None)
        for axis, values in self.grid.items():
            if axis not in (*known, "recipe"):
                raise UnknownNameError(describe_unknown("setting in the grid", str(axis), known, listed_as="Settings"))
            if not isinstance(values, list) or not values:
                raise ValueError(f"Expected the grid's {axis} to be a list of values, got {values!r}.")
        for arm, settings in self.arms.items():
            if not isinstance(arm, str):
                raise ValueError(f"Expected names of arms in quotes, got {arm!r}.")
            if not isinstance(settings, dict):
                raise ValueError(f"Expected the arm '{arm}' to map settings to values, got {settings!r}.")
            _refuse_common(settings, f"The arm '{arm}'")
        for entry in self.override:
            if not isinstance(entry, Mapping) or entry.keys() != {"when", "set"}:
                raise ValueError(f"Expected an entry such as {_OVERRIDE}, got {entry!r}.")
            for part, values in entry.items():
                if not isinstance(values, Mapping):
                    raise ValueError(f"Expected an entry such as {_OVERRIDE}, got {entry!r}.")
                _refuse_common(values, f"`{part}` of an override")

    def metric_among(self, metrics: Mapping[str, Any]) -> str | None:
        """Return the metric that is compared: the chosen one, or the main metric of a kind of labels."""
        main = {TASKS[kind].metrics[0].name for kind in TASKS}
        return self.metric or next((name for name in metrics if name in main), None)


_SPEC_TYPES: dict[str, type] = {
    **dict.fromkeys(("base", "arms", "grid"), dict),
    **dict.fromkeys(("exclude", "override"), list),
    **dict.fromkeys(("name", "about", "baseline", "metric"), str),
}
_DESCRIPTIONS: dict[type, str] = {dict: "a mapping", list: "a list", str: "text (in quotes, if it is a number)"}
_OVERRIDE = "{when: {head: lstm}, set: {lr: 1e-4}}"


def _refuse_common(settings: Mapping[str, Any], place: str) -> None:
    """Refuse settings that an arm cannot have for itself: its trials differ in their seeds, and arms share these.

    Raises:
        ValueError: naming the first.
    """
    shared = (*names_where(lambda declared: declared.fixed_in_studies is not None), "seed")
    for name in settings:
        if name in shared:
            raise ValueError(f"{place} cannot have the setting '{name}': it is not one arm's.")


@dataclass(frozen=True)
class Trial:
    """One run of a study."""

    id: str
    """Made of its settings; the name of its run directory."""
    arm: str
    """What it shares with the trials that differ in nothing but the seed, in words."""
    seed: int
    """Its seed."""
    axes: dict[str, Any] = field(hash=False)
    """Its value on each axis of the grid, the seed's included."""
    settings: dict[str, Any] = field(hash=False)
    """Every setting of run.py but those of its place."""

    def config(self, **place: Any) -> RunConfig:
        """Return its settings as a run's.

        Args:
            **place: settings that say where the run lies.
        """
        return RunConfig(**{**self.settings, **place})


def read_study_file(path: Path, *, quick: bool) -> dict[str, Any]:
    """Return what a study's YAML file says.

    Args:
        path: the file.
        quick: whether its section `quick` replaces what it names.
    Raises:
        ValueError: if it cannot be read, is no mapping, or has a key that no study has.
    """
    try:
        content = yaml.safe_load(expand_path(str(path)).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"Cannot read the study {path}: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"The study {path} is not YAML: {one_line(error)}") from None
    if not isinstance(content, dict):
        raise ValueError(f"The study {path} must map {', '.join(_SPEC_KEYS)} to values.")
    content = {key: value for key, value in content.items() if value is not None}  # a key with nothing after it
    shorter = content.pop("quick", None)
    if not isinstance(shorter, dict | None):
        raise ValueError(f"{path}: expected `quick` to be a mapping, got {shorter!r}.")
    for key in (*content, *(shorter or {})):
        if key not in _SPEC_KEYS:
            raise UnknownNameError(f"{path}: " + describe_unknown("key", str(key), (*_SPEC_KEYS, "quick")))
    if quick:
        if shorter is None:
            raise ValueError(f"The study {path} has no section `quick` for --quick.")
        for key, value in shorter.items():
            content[key] = {**content.get(key, {}), **value} if isinstance(value, dict) else value
    return content


_SPEC_KEYS = [item.name for item in dataclasses.fields(StudySpec)]


def expand(spec: StudySpec, options: Mapping[str, dict[str, str]] | None = None) -> list[Trial]:
    """Return every trial of a study, seed by seed within an arm.

    Args:
        spec: the study.
        options: options of choices as the command line gives them, `head` -> `dropout` -> value; they go to every
            trial.
    Raises:
        ValueError: for a setting that cannot be, an entry that matches no trial, or two trials that are the same.
    """
    axes = {**({"arm": list(spec.arms)} if spec.arms else {}), **spec.grid}
    axes["seed"] = list_seeds(axes.pop("seed", [spec.base.get("seed", 0)]))  # last: the seeds of an arm stand together
    varying = [axis for axis, values in axes.items() if axis != "seed" and len(values) > 1]
    used: set[int] = set()
    trials = []
    defaults = {name: value for name, value in typed_settings({}).items() if name not in INSPECTION}
    type_value = _TypedValues()
    for values in itertools.product(*axes.values()):
        place = dict(zip(axes, values, strict=True))
        if _matches(spec.exclude, place, used):
            continue
        settings = _settings_of(spec, place, used, defaults, type_value)
        fold_options(settings, {kind: dict(given) for kind, given in (options or {}).items()})
        kept = RunConfig(**settings).to_recipe()
        typed = {axis: kept.get(axis, value) for axis, value in place.items()}
        arm = _describe_arm(typed, varying) or Choice.of(kept["head"], "head").name
        trials.append(Trial(_make_id(kept, varying), arm, kept["seed"], typed, kept))
    _check_entries(spec, used)
    _check_distinct(trials)
    if spec.baseline is not None and spec.baseline not in (arms := {trial.arm for trial in trials}):
        raise UnknownNameError(describe_unknown("arm for the baseline", spec.baseline, arms, listed_as="Arms"))
    return trials


def check_arms(trials: Sequence[Trial], check: Callable[[RunConfig], object]) -> None:
    """Refuse trials that cannot be run, before any is.

    Args:
        trials: of a study; those that differ in nothing but the seed are checked once.
        check: raises a ValueError for settings that cannot be.
    Raises:
        ValueError: naming the arm.
    """
    checked = set()
    for trial in trials:
        if trial.arm not in checked:
            checked.add(trial.arm)
            try:
                check(trial.config())
            except ValueError as error:
                if describe_error(error) is None:
                    raise
                raise ValueError(f"{trial.arm}: {error}") from error


def _settings_of(
    spec: StudySpec,
    place: Mapping[str, Any],
    used: set[int],
    defaults: Mapping[str, Any],
    type_value: Callable[[str, Any], Any],
) -> dict[str, Any]:
    """Return the settings at one place of the grid, typed: base, recipe, arm, axes and overrides, in this order."""
    given = dict(place)
    layers = [spec.arms[given.pop("arm")]] if "arm" in given else []
    layers += [given, *(entry["set"] for entry in _matches(spec.override, place, used, key="when"))]
    merged = dict(spec.base)
    kinds = setting_types()
    for layer in layers:
        own = dict(layer)
        recipe = own.pop("recipe", None)
        if recipe is not None:
            merged |= merge_recipes(recipe)
        for name, value in own.items():
            takes_list = typing.get_origin(kinds.get(name)) is list
            merged[name] = [value] if takes_list and not isinstance(value, list) else value
    check_setting_names(merged, "setting")
    return {**defaults, **{name: type_value(name, value) for name, value in merged.items()}}


def list_seeds(values: Sequence[Any]) -> list[Any]:
    """Return seeds one by one: `0-4` is five of them.

    Raises:
        ValueError: for a range that ends before it begins.
    """
    seeds: list[Any] = []
    for value in values:
        span = re.fullmatch(r"(\d+)\s*-\s*(\d+)", value) if isinstance(value, str) else None
        if span is None:
            seeds.append(value)
            continue
        first, last = map(int, span.groups())
        if last < first:
            raise ValueError(f"Expected seeds as first-last, such as 0-4, got '{value}'.")
        seeds += range(first, last + 1)
    return seeds


class _TypedValues:
    """Types each value of a setting once: a grid repeats few values in many trials."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], Any] = {}

    def __call__(self, name: str, value: Any) -> Any:
        key = (name, repr(value))
        if key not in self._values:
            self._values[key] = typed_value(name, value)
        return copy.deepcopy(self._values[key])  # options are folded into it


def _matches(
    entries: Sequence[Mapping[str, Any]], place: Mapping[str, Any], used: set[int], key: str | None = None
) -> list[Mapping[str, Any]]:
    """Return the entries all of whose values a place of the grid has, and note that they were of use."""
    found = []
    for entry in entries:
        wanted = entry if key is None else entry.get(key)
        if not isinstance(wanted, Mapping):
            raise ValueError(f"Expected an entry such as {{head: lstm, lr: 1e-3}}, got {entry!r}.")
        for axis in wanted:
            if axis not in place:
                raise UnknownNameError(describe_unknown("axis", str(axis), place, listed_as="Axes of the grid"))
        if all(_is_same(value, place[axis]) for axis, value in wanted.items()):
            used.add(id(entry))
            found.append(entry)
    return found


def _check_entries(spec: StudySpec, used: set[int]) -> None:
    for kind, entries in (("exclude", spec.exclude), ("override", spec.override)):
        for entry in entries:
            if id(entry) not in used:
                raise ValueError(f"No trial of the grid fits this entry of {kind}: {entry!r}.")


def fits(entry: Mapping[str, Any], axes: Mapping[str, Sequence[Any]]) -> bool:
    """Return whether a combination can come up, as far as these axes go.

    Args:
        entry: values by axis.
        axes: all values of some axes.
    """
    return all(any(_is_same(wanted, value) for value in axes[axis]) for axis, wanted in entry.items() if axis in axes)


def _is_same(wanted: Any, value: Any) -> bool:
    """Return whether a value is what an entry names: numbers in any notation, choices also by name alone."""
    if isinstance(value, Mapping) and "name" in value and isinstance(wanted, str):
        return bool(value["name"] == wanted)
    try:
        return float(wanted) == float(value)
    except (TypeError, ValueError):
        return bool(wanted == value)


def _describe_arm(axes: Mapping[str, Any], varying: Sequence[str]) -> str:
    """Return an arm in words: the values alone where it is clear what they are of, else with their names."""
    speaking = ("arm", "recipe", *names_where(lambda declared: declared.value_names_arm))
    words = {axis: axes[axis] if axis == "arm" else _describe_value(axes[axis]) for axis in varying}
    return ", ".join(word if axis in speaking else f"{axis}={word}" for axis, word in words.items())


def _describe_value(value: Any) -> str:
    if isinstance(value, Mapping) and "name" in value:
        options = ", ".join(f"{name} {option}" for name, option in value.items() if name != "name")
        return f"{value['name']} ({options})" if options else str(value["name"])
    if isinstance(value, str):
        return Path(value.rstrip("/")).stem if "/" in value or value.endswith(".yaml") else value
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return "+".join(map(_describe_value, value)) or "none"
    return "none" if value is None else str(value)


def _make_id(settings: Mapping[str, Any], varying: Sequence[str]) -> str:
    """Return a name that the settings alone decide: in a grid that grew, a trial keeps its own.

    Args:
        settings: the trial's.
        varying: axes of the grid with several values: what is compared makes another trial, whatever it is.
    """
    decisive = {
        name: value for name, value in settings.items() if declaration_of(name).distinguishes_trials or name in varying
    }
    if settings["cache_features"] is False and settings["mixed_precision"] in ("bf16", "fp16"):
        decisive["cache_features"] = False  # computed in other batches: in half precision that is more than rounding
    digest = hashlib.sha256(json.dumps(decisive, sort_keys=True, default=str).encode()).hexdigest()[:10]
    return f"{Choice.of(settings['head'], 'head').name}-seed{settings['seed']}-{digest}"


def _check_distinct(trials: Sequence[Trial]) -> None:
    """Refuse a grid with the same trial twice, or with two arms of one name.

    Raises:
        ValueError: naming them.
    """
    times = Counter(trial.id for trial in trials)
    twice = sorted({trial.arm for trial in trials if times[trial.id] > 1})
    if twice:
        raise ValueError(f"The grid has the same settings twice: {', '.join(twice)}.")
    if not trials:
        raise ValueError("The grid has no trial: every combination is excluded.")
    for (arm, seed), alike in itertools.groupby(sorted(trials, key=_place), key=_place):
        if len(list(alike)) > 1:
            raise ValueError(f"Two arms of the grid are both called '{arm}' (seed {seed}); give them names (arms:).")


def _place(trial: Trial) -> tuple[str, int]:
    return trial.arm, trial.seed

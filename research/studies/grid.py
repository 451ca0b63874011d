"""The grid of a study: its specification, and the trials that it expands to.

Each trial is a run with one combination of values. Its id is derived from its settings.
"""

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
    add_options_to_choices,
    check_setting_names,
    convert_settings,
    convert_value,
    merge_recipes,
)
from research.settings.config import RunConfig, name_of_head
from research.settings.flags import INSPECTION_FLAGS, declaration_of, names_where, setting_types
from research.settings.times import parse_time
from research.studies.arm_names import arm_name
from research.studies.search.spec import parse_search
from research.studies.units import SeedAndFold, Unit
from research.system.errors import describe_user_error, one_line
from research.system.paths import expand_path
from research.tasks.base import TASKS


@dataclass(frozen=True, kw_only=True)
class StudySpec:
    """Specification of a study; a study file has the same keys."""

    name: str = "study"
    """Name of the study; its default directory is runs/<name>."""
    about: str = ""
    """The question that the study answers, in one sentence."""
    base: dict[str, Any] = field(default_factory=dict)
    """Settings of all trials, as in a recipe."""
    arms: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Named sets of settings, which form the axis `arm`."""
    grid: dict[str, list[Any]] = field(default_factory=dict)
    """Values of each varied setting, including `seed`."""
    exclude: list[dict[str, Any]] = field(default_factory=list)
    """Combinations to exclude: a combination is excluded if it has all values of an entry."""
    override: list[dict[str, Any]] = field(default_factory=list)
    """Settings for some combinations only: {when: {head: lstm}, set: {lr: 1e-4}}."""
    search: dict[str, Any] = field(default_factory=dict)
    """A search instead of a grid; see `SearchSpec`. Empty for a grid."""
    fork_at: str | None = None
    """Time at which the arms fork: for each seed, a run with the settings `base` is trained up to here once, and all
    arms continue it. None trains each arm from its start."""
    selection: dict[str, Any] = field(default_factory=dict)
    """How a search chose the arms. Empty if no search did. Otherwise: `tried` and `rule`, two descriptions;
    `test_rows_were_scored`, whether an earlier confirmation had scored test rows before this choice; `space`, the
    values of each searched setting; `search`, the budget, the sampler and so on; `validation`, the metric of each
    chosen arm in the search; `values`, the metrics of all its trials; `minimized` and `second_values`, the name of a
    second objective and its values; `hours`, those that a trial took on average; `device_hours`, the hours of all
    trials times their number of processes, null if unknown."""
    baseline: str | None = None
    """The arm with which all other arms are compared; by default the first arm."""
    metric: str | None = None
    """The metric to compare; by default accuracy, subset_accuracy or pearson, depending on the task."""
    split: Literal["test", "validation"] = "test"
    """The split on which the metric is measured."""
    keep_models: Literal["best", "all", "none"] | None = None
    """Trials whose models are kept: all, none, or the best of each arm (of the whole search) on validation rows. None
    keeps them as in earlier invocations, and at first the best."""

    def __post_init__(self) -> None:
        for name, expected in _SPEC_TYPES.items():
            value = getattr(self, name)
            if not isinstance(value, expected) and not (value is None and name in _OPTIONAL):
                raise ValueError(f"Expected the study's {name} to be {_TYPE_DESCRIPTIONS[expected]}; got {value!r}.")
        if self.split not in ("test", "validation"):
            raise ValueError(f"Expected the study's split to be test or validation, got '{self.split}'.")
        if self.keep_models not in (None, KEEP_BEST, "all", "none"):
            raise ValueError(f"Expected the study's keep_models to be best, all or none; got {self.keep_models!r}.")
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)*", self.name) or ".." in self.name.split("/"):
            raise ValueError(
                "Expected the study's name to be a folder name of letters, digits, '_', '.' or '-', with '/' for "
                f"subfolders; got '{self.name}'."
            )
        if self.search:
            self._check_search()
        if self.fork_at is not None:
            parse_time(self.fork_at)  # refuses an invalid time
        known = names_where(lambda declared: declared.why_fixed_in_studies is None)
        for axis, values in self.grid.items():
            if axis not in (*known, "recipe"):
                raise UnknownNameError(describe_unknown("setting in the grid", str(axis), known, listed_as="Settings"))
            if not isinstance(values, list) or not values:
                raise ValueError(f"Expected the grid's {axis} to be a list of values, got {values!r}.")
        for arm, settings in self.arms.items():
            if arm == COMMON_PAST:
                raise ValueError(f"Expected another name for the arm '{arm}', which is reserved for forks.")
            if not isinstance(arm, str):
                raise ValueError(
                    f"Expected names of arms to be strings (in quotes if they look like numbers), got {arm!r}."
                )
            if not isinstance(settings, dict):
                raise ValueError(f"Expected the arm '{arm}' to map settings to values, got {settings!r}.")
            _refuse_fixed_settings(settings, f"The arm '{arm}'")
        for entry in self.override:
            if not isinstance(entry, Mapping) or entry.keys() != {"when", "set"}:
                raise ValueError(f"Expected an override such as {_EXAMPLE_OVERRIDE}, got {entry!r}.")
            for part, values in entry.items():
                if not isinstance(values, Mapping):
                    raise ValueError(f"Expected an override such as {_EXAMPLE_OVERRIDE}, got {entry!r}.")
                _refuse_fixed_settings(values, f"`{part}` of an override")

    def _check_search(self) -> None:
        """Check the section `search`, and that the study has no section that a search cannot have.

        Raises:
            ValueError: if a value is invalid.
        """
        search = parse_search(self.search)
        unusable = [name for name in ("exclude", "override", "baseline", "fork_at") if getattr(self, name)]
        unusable += [f"grid: {axis}" for axis in self.grid if axis != "seed"]
        unusable += ["folds"] if self.base.get("folds") is not None else []
        if unusable:
            raise ValueError(f"A search cannot be combined with {', '.join(unusable)}.")
        if len(expand_seeds(self.grid.get("seed", [0]))) > 1:
            raise ValueError("The trials of a search have one seed. --confirm runs the best ones with several seeds.")
        if bool(self.arms) != ("arm" in search.space):
            raise ValueError("A search with `arms` needs `arm: [...]` in its space, and the other way round.")
        if self.split != "validation":
            raise ValueError("The trials of a search are judged on validation rows; omit --split.")

    def compared_metric(self, metrics: Mapping[str, Any]) -> str | None:
        """Return the compared metric: the chosen one, or the first of `metrics` that is the main metric of a task.

        Args:
            metrics: a trial's metrics on the compared split.
        Returns:
            Name of the metric; None if none is chosen and no task's main metric is among the trial's.
        """
        main_metrics = {TASKS[name].metrics[0].name for name in TASKS}
        return self.metric or next((name for name in metrics if name in main_metrics), None)


_SPEC_TYPES: dict[str, type] = {
    **dict.fromkeys(("base", "arms", "grid", "search", "selection"), dict),
    **dict.fromkeys(("exclude", "override"), list),
    **dict.fromkeys(("name", "about", "baseline", "metric", "fork_at"), str),
}
_OPTIONAL = ("baseline", "metric", "fork_at")
_TYPE_DESCRIPTIONS: dict[type, str] = {
    dict: "a mapping",
    list: "a list",
    str: "a string (in quotes if it looks like a number)",
}
AXES_WITHIN_ARM = ("seed", "fold")
"""Axes of the grid that tell the trials of one arm apart."""
_EXAMPLE_OVERRIDE = "{when: {head: lstm}, set: {lr: 1e-4}}"


KEEP_BEST = "best"
"""Value of `keep_models` that keeps the model of the best trial of each arm."""
COMMON_PAST = "common past"
"""Arm of the trials that all arms of a study continue."""


def _refuse_fixed_settings(settings: Mapping[str, Any], owner: str) -> None:
    """Refuse settings that cannot differ between arms: those that are fixed in studies, the seed and the fold.

    Raises:
        ValueError: if there is such a setting; the message names the first.
    """
    fixed = (*names_where(lambda declared: declared.why_fixed_in_studies is not None), *AXES_WITHIN_ARM)
    for name in settings:
        if name in fixed:
            raise ValueError(f"{owner} cannot contain '{name}', because this setting cannot differ between arms.")


@dataclass(frozen=True)
class Trial:
    """One run of a study."""

    id: str
    """Id derived from the settings; also the name of the run directory."""
    arm: str
    """Name of the arm, which the trial shares with all trials that differ only in the seed and the fold."""
    seed: int
    """Seed of the run."""
    axes: dict[str, Any] = field(hash=False)
    """Value on each axis of the grid, including the seed."""
    settings: dict[str, Any] = field(hash=False)
    """All settings of run.py except those that concern one invocation, such as the output directory."""
    parent_id: str | None = None
    """Id of the trial whose checkpoint this trial continues; None if it starts from the beginning."""

    @property
    def is_parent(self) -> bool:
        """Whether the trial is the common past of others: it is paused where they fork."""
        return self.arm == COMMON_PAST

    @property
    def unit(self) -> Unit:
        """What the trial shares with the trial of another arm that it is compared with."""
        return self.seed if self.settings.get("folds") is None else SeedAndFold(self.seed, self.settings["fold"])

    @property
    def arm_settings(self) -> dict[str, Any]:
        """The settings that all trials of the arm share."""
        varied = ["seed"] if self.settings.get("folds") is None else [*AXES_WITHIN_ARM, "split_seed"]
        return {name: value for name, value in self.settings.items() if name not in varied}

    @property
    def arm_key(self) -> str:
        """The settings of the arm as one string, which stays the same if the name of the arm changes."""
        return json.dumps(self.arm_settings, sort_keys=True, default=str)

    def config(self, **invocation: Any) -> RunConfig:
        """Return the settings as a run's configuration.

        Args:
            **invocation: settings that concern one invocation, such as the output directory.
        """
        return RunConfig(**{**self.settings, **invocation})


def read_study_file(path: Path, *, quick: bool) -> dict[str, Any]:
    """Read a study's YAML file.

    Args:
        path: the file.
        quick: whether to apply the section `quick`: its mappings are merged into those of the other sections, and its
            other values replace theirs.
    Raises:
        ValueError: if the file cannot be read, is not a mapping, has an unknown key, or lacks a section `quick` that is
            needed.
    """
    try:
        content = yaml.safe_load(expand_path(str(path)).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"Cannot read the study {path}: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"The study {path} is not valid YAML: {one_line(error)}") from None
    if not isinstance(content, dict):
        raise ValueError(f"Expected the study {path} to be a mapping with keys from {', '.join(_SPEC_KEYS)}.")
    content = {key: value for key, value in content.items() if value is not None}  # drops keys without a value
    quick_section = content.pop("quick", None)
    if not isinstance(quick_section, dict | None):
        raise ValueError(f"{path}: expected `quick` to be a mapping, got {quick_section!r}.")
    for key in (*content, *(quick_section or {})):
        if key not in _SPEC_KEYS:
            raise UnknownNameError(f"{path}: " + describe_unknown("key", str(key), (*_SPEC_KEYS, "quick")))
    if quick:
        if quick_section is None:
            raise ValueError(f"--quick requires a section `quick` in the study {path}.")
        for key, value in quick_section.items():
            content[key] = {**content.get(key, {}), **value} if isinstance(value, dict) else value
    return content


_SPEC_KEYS = [item.name for item in dataclasses.fields(StudySpec)]


def expand(spec: StudySpec, options: Mapping[str, dict[str, str]] | None = None) -> list[Trial]:
    """Return all trials of a study, arm by arm; the trials of an arm are in the order of the seeds and folds.

    With folds, the grid has an axis `fold` with all of them, unless the study names some. Each seed makes its own
    folds: it is added to the split seed, so that the folds of several seeds are those of a repeated cross-validation.

    Args:
        spec: the study.
        options: options from the command line for the head, objective and so on of all trials, such as
            `head` -> `dropout` -> value.
    Raises:
        ValueError: if a setting is invalid, an exclude or override entry matches no trial, two trials are identical or
            cannot be told apart by arm and seed, no trial is left, or the baseline is not an arm.
    """
    axes = {**({"arm": list(spec.arms)} if spec.arms else {}), **spec.grid}
    # The seed and the fold are the last axes, so that the trials of an arm are consecutive.
    axes["seed"] = expand_seeds(axes.pop("seed", [spec.base.get("seed", 0)]))
    num_folds = spec.base.get("folds")
    if num_folds is not None:
        _check_fold_settings(spec)
        axes["fold"] = axes.pop("fold", list(range(num_folds)))
    varied_axes = [axis for axis, values in axes.items() if axis not in AXES_WITHIN_ARM and len(values) > 1]
    builder = TrialBuilder(spec, options)
    trials = []
    for values in itertools.product(*axes.values()):
        combination = dict(zip(axes, values, strict=True))
        if builder.is_excluded(combination):
            continue
        settings = builder.settings_of(combination)
        parent_id = None if spec.fork_at is None else builder.parent_of(combination).id
        axis_values = {axis: settings.get(axis, value) for axis, value in combination.items()}
        arm = arm_name(axis_values, varied_axes) or name_of_head(settings["head"])
        trial_id = make_id(settings, varied_axes, parent_id)
        trials.append(Trial(trial_id, arm, settings["seed"], axis_values, settings, parent_id))
    builder.check_entries_match()
    _check_distinct(trials)
    if spec.baseline is not None and spec.baseline not in (arms := {trial.arm for trial in trials}):
        raise UnknownNameError(describe_unknown("arm for the baseline", spec.baseline, arms, listed_as="Arms"))
    return trials


def expand_parents(spec: StudySpec, options: Mapping[str, dict[str, str]] | None = None) -> list[Trial]:
    """Return the trials that the arms of a study fork, one for each seed; none if the arms do not fork.

    Args:
        spec: the study.
        options: see `expand`.
    """
    if spec.fork_at is None:
        return []
    builder = TrialBuilder(spec, options)
    seeds = expand_seeds(spec.grid.get("seed", [spec.base.get("seed", 0)]))
    return [builder.parent_of({"seed": seed}) for seed in seeds]


def _check_fold_settings(spec: StudySpec) -> None:
    """Refuse settings that would be without effect or misleading in a study with folds.

    Raises:
        ValueError: if there is such a setting.
    """
    if spec.base.get("fold", 0) != 0:
        raise ValueError(f"A study runs all folds. To run only some, use --grid fold={spec.base['fold']}.")
    if spec.fork_at is not None:
        raise ValueError("fork_at cannot be combined with folds: the trials of a seed have different training rows.")
    if "split_seed" in spec.grid:
        raise ValueError("With --folds, the grid cannot vary split_seed: each seed makes its own folds. Use --seeds.")


def check_arms(trials: Sequence[Trial], check: Callable[[RunConfig], object]) -> None:
    """Check the settings of all arms before any trial is run.

    Args:
        trials: trials of a study; one trial of each arm is checked.
        check: function that raises a ValueError for invalid settings.
    Raises:
        ValueError: if an arm is invalid; the message names the arm.
    """
    checked = set()
    for trial in trials:
        if trial.arm not in checked:
            checked.add(trial.arm)
            try:
                check(trial.config())
            except ValueError as error:
                if describe_user_error(error) is None:  # a defect of Midway, which needs a traceback
                    raise
                raise ValueError(f"{trial.arm}: {error}") from error


class TrialBuilder:
    """Merges the layers of a study into the settings of its trials.

    Args:
        spec: the study.
        options: options from the command line for the head, objective and so on of all trials.
    """

    def __init__(self, spec: StudySpec, options: Mapping[str, dict[str, str]] | None = None) -> None:
        self.spec = spec
        self.options = options or {}
        self._matched_ids: set[int] = set()  # `id()` of the exclude and override entries that match a combination
        self._defaults = {name: value for name, value in convert_settings({}).items() if name not in INSPECTION_FLAGS}
        self._convert_once = _ValueConverter()

    def is_excluded(self, combination: Mapping[str, Any]) -> bool:
        """Return whether the study excludes a combination: a value on each axis."""
        return bool(_matching_entries(self.spec.exclude, combination, self._matched_ids))

    def settings_of(self, combination: Mapping[str, Any]) -> dict[str, Any]:
        """Return all settings of one combination: the base, overridden by the arm, the axes and the overrides.

        If one of these layers has a recipe, the layer's own settings override those of the recipe.

        Args:
            combination: value on each axis.
        Raises:
            ValueError: if a setting is invalid.
        """
        given = dict(combination)
        layers = [self.spec.arms[given.pop("arm")]] if "arm" in given else []
        overrides = _matching_entries(self.spec.override, combination, self._matched_ids, key="when")
        layers += [given, *(entry["set"] for entry in overrides)]
        merged = dict(self.spec.base)
        types = setting_types()
        for layer in layers:
            layer_settings = dict(layer)
            recipe = layer_settings.pop("recipe", None)
            if recipe is not None:
                merged |= merge_recipes(recipe)
            for name, value in layer_settings.items():
                takes_list = typing.get_origin(types.get(name)) is list
                merged[name] = [value] if takes_list and not isinstance(value, list) else value
        return self._complete(merged)

    def _complete(self, merged: Mapping[str, Any]) -> dict[str, Any]:
        """Return all settings, given those that a study sets, with the options from the command line."""
        check_setting_names(merged, "setting")
        settings = {**self._defaults, **{name: self._convert_once(name, value) for name, value in merged.items()}}
        add_options_to_choices(settings, {kind: dict(values) for kind, values in self.options.items()})
        if settings["folds"] is not None:
            settings["split_seed"] += settings["seed"]
        return RunConfig(**settings).to_recipe()

    def parent_of(self, combination: Mapping[str, Any]) -> Trial:
        """Return the trial that a combination forks: it has the settings of the base and the combination's seed.

        Args:
            combination: value on each axis.
        """
        layers = {**self.spec.base, "seed": combination["seed"], "pause_at": self.spec.fork_at}
        settings = self._complete(layers)
        axes = {"seed": settings["seed"]}
        return Trial(f"past-{make_id(settings, ['pause_at'])}", COMMON_PAST, settings["seed"], axes, settings)

    def check_entries_match(self) -> None:
        """Check that each exclude and override entry has matched a combination.

        Raises:
            ValueError: if one has not; the message contains the entry.
        """
        for kind, entries in (("exclude", self.spec.exclude), ("override", self.spec.override)):
            for entry in entries:
                if id(entry) not in self._matched_ids:
                    raise ValueError(f"No trial of the grid matches this {kind} entry: {entry!r}.")


def expand_seeds(values: Sequence[Any]) -> list[Any]:
    """Return a list of seeds in which ranges such as `0-4` are expanded.

    Raises:
        ValueError: if a range ends before it starts.
    """
    seeds: list[Any] = []
    for value in values:
        span = re.fullmatch(r"(\d+)\s*-\s*(\d+)", value) if isinstance(value, str) else None
        if span is None:
            seeds.append(value)
            continue
        first, last = map(int, span.groups())
        if last < first:
            raise ValueError(f"Expected a range of seeds from low to high, such as 0-4; got '{value}'.")
        seeds += range(first, last + 1)
    return seeds


class _ValueConverter:
    """Converts each value of a setting to its type only once, since a grid repeats few values in many trials."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], Any] = {}

    def __call__(self, name: str, value: Any) -> Any:
        key = (name, repr(value))
        if key not in self._values:
            self._values[key] = convert_value(name, value)
        return copy.deepcopy(self._values[key])  # a copy, because options are merged into the value


def _matching_entries(
    entries: Sequence[Mapping[str, Any]], combination: Mapping[str, Any], matched_ids: set[int], key: str | None = None
) -> list[Mapping[str, Any]]:
    """Return the entries whose values all match a combination, and add their `id()` to `matched_ids`.

    Args:
        entries: exclude or override entries.
        combination: value on each axis.
        matched_ids: set to extend.
        key: key under which an entry has its values; None if the entry itself maps axes to values.
    """
    matching = []
    for entry in entries:
        wanted = entry if key is None else entry.get(key)
        if not isinstance(wanted, Mapping):
            raise ValueError(f"Expected an exclude entry such as {{head: lstm, lr: 1e-3}}, got {entry!r}.")
        for axis in wanted:
            if axis not in combination:
                raise UnknownNameError(describe_unknown("axis", str(axis), combination, listed_as="Axes of the grid"))
        if all(_matches(value, combination[axis]) for axis, value in wanted.items()):
            matched_ids.add(id(entry))
            matching.append(entry)
    return matching


def can_match(entry: Mapping[str, Any], axes: Mapping[str, Sequence[Any]]) -> bool:
    """Return whether an exclude or override entry can match a combination of the grid.

    Args:
        entry: values by axis.
        axes: all values of some axes of the grid. Axes of the entry that are missing here are ignored.
    """
    return all(any(_matches(wanted, value) for value in axes[axis]) for axis, wanted in entry.items() if axis in axes)


def _matches(wanted: Any, value: Any) -> bool:
    """Return whether a value of the grid matches the value that an entry wants.

    Numbers are compared as numbers, so 1e-3 matches 0.001. A name such as `lstm` matches that head with any options.
    """
    if isinstance(value, Mapping) and "name" in value and isinstance(wanted, str):
        return bool(value["name"] == wanted)
    try:
        return float(wanted) == float(value)
    except (TypeError, ValueError):
        return bool(wanted == value)


def make_id(settings: Mapping[str, Any], varied_axes: Sequence[str], parent_id: str | None = None) -> str:
    """Return an id derived from the trial's settings and not from its position in the grid.

    A trial therefore keeps its id if the grid grows.

    Args:
        settings: settings of the trial.
        varied_axes: axes of the grid with several values. These values are always part of the id, even if the setting
            does not normally distinguish trials.
        parent_id: id of the trial that the trial forks; None if it forks none.
    """
    decisive = {
        name: value
        for name, value in settings.items()
        if declaration_of(name).distinguishes_trials or name in varied_axes
    }
    if settings["cache_features"] is False and settings["mixed_precision"] in ("bf16", "fp16"):
        # Without the cache, hidden states are computed in different batches and so are rounded differently. In half
        # precision, the differences are too large to be ignored.
        decisive["cache_features"] = False
    if parent_id is not None:
        decisive["parent"] = parent_id
    digest = hashlib.sha256(json.dumps(decisive, sort_keys=True, default=str).encode()).hexdigest()[:10]
    fold = "" if settings["folds"] is None else f"-fold{settings['fold']}"
    return f"{name_of_head(settings['head'])}-seed{settings['seed']}{fold}-{digest}"


def _check_distinct(trials: Sequence[Trial]) -> None:
    """Refuse a grid with identical trials, without trials, or with several arms of the same name.

    Raises:
        ValueError: in each of these cases.
    """
    counts = Counter(trial.id for trial in trials)
    repeated = sorted({trial.arm for trial in trials if counts[trial.id] > 1})
    if repeated:
        raise ValueError(f"The grid has trials with identical settings: {', '.join(repeated)}.")
    if not trials:
        raise ValueError("The grid has no trials, because all combinations are excluded.")
    for (arm, unit), count in Counter((trial.arm, trial.unit) for trial in trials).items():
        if count > 1:
            raise ValueError(f"Several arms of the grid are called '{arm}' (seed {unit}). Name them with `arms:`.")

"""The command line of studies: the study's own flags, and settings of run.py that apply to all of its trials."""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from research.settings.arguments import HELP, Flag
from research.settings.command_line import (
    SeparatedFlags,
    add_options_to_choices,
    build_base_recipe,
    build_help_request,
    check_setting_names,
    coerce_like_cli,
    convert_settings,
    merge_recipes,
    separate_flags,
)
from research.settings.config import LARGEST_SEED
from research.settings.declarations import PERIOD, Effect, setting
from research.settings.flags import declaration_of, names_where, setting_types
from research.settings.forks import read_inherited_settings
from research.settings.program import HelpRequest, Program
from research.settings.script_settings import parse_group, split_flags
from research.settings.value_types import alternatives
from research.studies.grid import StudySpec, can_match, read_study_file
from research.studies.search.space import parse_flag
from research.studies.submission.settings import SubmitSettings
from research.studies.time_limit import parse_seconds
from research.system.errors import one_line
from research.system.scripts import script_argument


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """Study"""

    study: str | None = setting(None, effect=Effect.INVOCATION)
    """YAML file with a study (experiments/studies/*.yaml); flags override it."""
    quick: bool = setting(False, effect=Effect.INVOCATION)
    """Run the short version that the study file defines in its section `quick`, as a test."""
    heads: str | None = setting(None, effect=Effect.INVOCATION)
    """Heads to compare, separated by commas: linear,attention,{name: lstm, lstm_size: 64}."""
    seeds: str | None = setting(None, effect=Effect.INVOCATION)
    """Seeds of each arm, separated by commas, or a range such as 0-4. Verdicts require at least five seeds."""
    grid: str | None = setting(None, effect=Effect.INVOCATION, takes_several_values=True)
    """Values of any setting to compare, such as lr=1e-5,3e-5; takes several settings, and may be repeated."""
    exclude: str | None = setting(None, effect=Effect.INVOCATION)
    """A combination to exclude from the grid, such as head=lstm,lr=1e-3; may be repeated."""
    search: str | None = setting(None, effect=Effect.INVOCATION, takes_several_values=True)
    """Search instead of a grid: values of a setting as a range or a list, such as lr=1e-6..1e-3:log,
    head=linear,lstm or head.dropout=0..0.5. Takes several settings, and may be repeated. Trials are judged on
    validation rows."""
    trials: int | None = setting(None, effect=Effect.INVOCATION, above=0, unit="trials")
    """Budget of a search: the number of trials."""
    hours: float | None = setting(None, effect=Effect.INVOCATION, above=0, unit="hours")
    """Budget of a search: no trial starts after all trials together have taken this long."""
    sampler: str | None = setting(None, effect=Effect.INVOCATION)
    """Sampler of a search: tpe (default), random, qmc, gp, cmaes, nsgaii or nsgaiii; with options,
    {name: tpe, multivariate: true}."""
    pruner: str | None = setting(None, effect=Effect.INVOCATION)
    """Pruner that ends trials of a search early, by their evaluations: none (default), median, percentile,
    successive_halving or hyperband; with options, {name: median, n_startup_trials: 3}."""
    search_seed: int | None = setting(None, effect=Effect.INVOCATION, at_least=0, at_most=LARGEST_SEED, unit="seed")
    """Seed of the sampler; 0 by default."""
    point: str | None = setting(None, effect=Effect.INVOCATION)
    """A point that a search tries first, such as head=lstm,lr=3e-5; may be repeated."""
    warm_start: str | None = setting(None, effect=Effect.INVOCATION)
    """Directory of an earlier study whose results inform the sampler of a search; may be repeated."""
    minimize: Literal["seconds", "trainable_parameters"] | None = setting(None, effect=Effect.INVOCATION)
    """A second objective of a search, which then looks for the best trade-offs."""
    confirm: str | None = setting(None, effect=Effect.INVOCATION, unit="CONFIGURATIONSxSEEDS")
    """After a search, run its best configurations and the defaults with new seeds, and compare them on the test rows:
    3x5 for three configurations and five seeds."""
    promote: str | None = setting(None, effect=Effect.INVOCATION)
    """Ids of pruned trials, separated by commas, to continue from their checkpoints to their ends."""

    @property
    def promote_ids(self) -> list[str]:
        """Return the ids of the trials to promote."""
        return [] if self.promote is None else [part.strip() for part in self.promote.split(",")]

    fork_at: str | None = setting(None, effect=Effect.INVOCATION, unit=PERIOD)
    """Train a common past of all arms up to this time, once for each seed, and let all arms continue it. Arms then
    differ only by what they change from here on."""
    baseline: str | None = setting(None, effect=Effect.INVOCATION)
    """The arm with which all other arms are compared; by default the first arm."""
    metric: str | None = setting(None, effect=Effect.INVOCATION)
    """The metric to compare; by default accuracy, subset_accuracy or pearson, depending on the task."""
    split: Literal["test", "validation"] = setting("test", effect=Effect.INVOCATION)
    """The split on which the metric is measured."""
    workers: int | Literal["auto"] = setting(1, effect=Effect.INVOCATION, above=0, unit="trials")
    """Number of trials to run at the same time; they share the CPU cores and GPUs of this machine. `auto` runs one on
    each GPU or, without GPUs, one on each core if all trials train only a head on stored hidden states."""
    accelerate_config: str | None = setting(None, effect=Effect.INVOCATION)
    """Config file of `accelerate launch` for each trial; by default, each trial is a single plain process."""
    storage: str | None = setting(None, effect=Effect.INVOCATION)
    """Address of a database that several machines share (postgresql+psycopg://user@host/name); by default a file in
    the study's directory."""
    retry_failed: bool = setting(False, effect=Effect.INVOCATION)
    """Run failed trials once more."""
    keep_models: Literal["best", "all", "none"] | None = setting(None, effect=Effect.INVOCATION)
    """Models that stay on disk when trials are finished: best (the best of each arm, or of a whole search, by the
    compared metric on validation rows), all or none. Predictions, results and checkpoints always stay. By default as
    in earlier invocations of the study, and at first best."""
    trial_timeout: str | None = setting(None, effect=Effect.INVOCATION, unit="time: 2h, 90m, 1h30m")
    """Time limit for one attempt at a trial: 2h, 90m. A trial that takes longer fails, but keeps its checkpoint."""
    drop_waiting: bool = setting(False, effect=Effect.INVOCATION)
    """Remove waiting trials of an earlier grid; by default they are run as well."""
    report_texts: bool = setting(True, effect=Effect.INVOCATION)
    """Show the texts of rows in report.html; set it to false if readers of the report must not see them."""


@dataclass
class StudyCommand:
    """A parsed command line of a study."""

    spec: StudySpec
    """Specification of the study."""
    options: dict[str, dict[str, str]]
    """Options of the chosen head, objective and so on, for all trials, such as `head` -> `dropout` -> value."""
    directory: Path
    """Directory of the study."""
    settings: StudySettings
    """The study's own settings."""
    dry_run: bool
    """Whether trials are listed instead of run."""
    traceback: bool
    """Whether errors in the user's own code are shown with their tracebacks."""
    notes: list[str]
    """Messages for the user about the command line, such as overridden settings."""
    submission: SubmitSettings | None = None
    """How to submit the study's workers; None to run them on this machine."""


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """Additional worker"""

    study: str = setting("", effect=Effect.INVOCATION)
    """Name of the study; required."""
    storage: str = setting("", effect=Effect.INVOCATION)
    """Address of the study's database, as passed to ablate.py; required."""
    directory: str | None = setting(None, effect=Effect.INVOCATION)
    """Directory of the study on this machine; by default runs/<study>."""
    accelerate_config: str | None = setting(None, effect=Effect.INVOCATION)
    """Config file of `accelerate launch` for each trial; by default, each trial is a single plain process."""
    num_workers: int = setting(1, effect=Effect.INVOCATION, above=0, unit="workers")
    """Number of workers on this machine, including this one; they share its CPU cores."""
    trial_timeout: str | None = setting(None, effect=Effect.INVOCATION, unit="time: 2h, 90m, 1h30m")
    """Time limit for one attempt at a trial: 2h, 90m; by default there is no limit."""
    traceback: bool = setting(False, effect=Effect.INVOCATION)
    """Show the full traceback of errors in your own code."""


STUDY = Program(
    "ablate.py",
    f"""python {script_argument("ablate")} [--heads a,b] [--seeds 0,1,2,3,4] [--grid setting=value,value ...]
       [--study FILE.yaml] [--setting value ...]
       python {script_argument("ablate")} work --study NAME --storage ADDRESS    (on other machines)
       python {script_argument("ablate")} submit --storage ADDRESS --workers 8 [the study's flags]    (to Slurm)""",
    "Compare heads, seeds and any other settings. Settings of run.py apply to all trials.",
    extra_groups=(StudySettings,),
)
SUBMIT = Program(
    "ablate.py submit",
    f"python {script_argument('ablate')} submit --storage ADDRESS --workers 8 [the study's flags]",
    "Plan a study and submit its workers to Slurm. All flags of ablate.py define the study.",
    extra_groups=(SubmitSettings, StudySettings),
)
WORK = Program(
    "ablate.py work",
    f"python {script_argument('ablate')} work --study NAME --storage ADDRESS [--setting value ...]",
    "Run trials of an existing study, on this or another machine.",
    extra_groups=(WorkerSettings,),
    takes_run_settings=False,
)


def parse_work(arguments: Sequence[str]) -> WorkerSettings | HelpRequest:
    """Parse the command line of an additional worker.

    Args:
        arguments: the arguments after `work`.
    Raises:
        ValueError: if a flag is unknown, a value is invalid, or --study or --storage is missing.
    """
    flags = WORK.read_flags(arguments)
    if any(flag.name == HELP for flag in flags):
        return HelpRequest(WORK)
    flag_values, _ = split_flags(WorkerSettings, flags)
    settings = parse_group(WorkerSettings, flag_values)
    missing = [f"--{name}" for name in ("study", "storage") if not getattr(settings, name)]
    if missing:
        raise ValueError(f"{WORK.name} requires {' and '.join(missing)}. Usage: {WORK.usage}")
    if settings.trial_timeout is not None:
        parse_seconds(settings.trial_timeout)  # refuses an invalid time
    return settings


def parse_study(arguments: Sequence[str]) -> StudyCommand | HelpRequest:
    """Parse the command line of a study.

    Args:
        arguments: the arguments after the script's name.
    Raises:
        ValueError: if a flag is unknown or a value is invalid; the message is meant for the user.
    """
    return _parse(STUDY, STUDY.read_flags(arguments))


def parse_submit(arguments: Sequence[str]) -> StudyCommand | HelpRequest:
    """Parse the command line of a study whose workers are submitted.

    Args:
        arguments: the arguments after `submit`.
    Raises:
        ValueError: if a flag is unknown or a value is invalid; the message is meant for the user.
    """
    submit_flags, study_flags = split_flags(SubmitSettings, SUBMIT.read_flags(arguments))
    command = _parse(SUBMIT, study_flags)
    if isinstance(command, HelpRequest):
        return command
    submission = parse_group(SubmitSettings, submit_flags)
    parse_seconds(submission.time_limit)  # refuses an invalid time
    return replace(command, submission=submission)


def _parse(program: Program, flags: Sequence[Flag]) -> StudyCommand | HelpRequest:
    study_flags, run_flags = split_flags(StudySettings, flags)
    separated = separate_flags(run_flags)
    if separated.wants_help:
        return build_help_request(program, separated)
    settings = parse_group(StudySettings, study_flags)
    if settings.trial_timeout is not None:
        parse_seconds(settings.trial_timeout)  # refuses an invalid time
    content = {} if settings.study is None else read_study_file(Path(settings.study), quick=settings.quick)
    if settings.quick and settings.study is None:
        raise ValueError("--quick requires --study: it runs the short version of a study file.")
    file_base = dict(content.get("base", {}))
    base, invocation, explicit_names = _merge_base(separated, file_base)
    if settings.study is not None:
        content.setdefault("name", Path(settings.study).stem)
    content |= {
        name: getattr(settings, name)
        for name in ("baseline", "metric", "split", "fork_at", "keep_models")
        if name in study_flags
    }
    axes = _parse_axes(study_flags)
    content["grid"] = {**content.get("grid", {}), **axes}
    removal_notes = _drop_entries_outside_grid(content, axes)
    search = _parse_search_flags(study_flags, settings)
    if search or "search" in content:
        section = content.get("search", {})
        if not isinstance(section, Mapping):
            raise ValueError(f"Expected the study's search to be a mapping, got {section!r}.")
        content["search"] = {**section, **search}
        content.setdefault("split", "validation")
    content["exclude"] = [
        *content.get("exclude", []),
        *(_parse_assignments("exclude", text) for text in study_flags.get("exclude", [])),
    ]
    content["base"] = base
    options = separated.options
    if "search" in content:
        if "score_test" in _names_of_flags(separated) and base["score_test"]:
            raise ValueError(
                "--score_test true cannot be used in a search: its trials are judged on validation rows, and --confirm "
                "tests the best configurations on test rows."
            )
        _add_options_to_base(base, options, content["search"])
        options = {}
    if invocation["name"] is not None:
        content["name"] = invocation["name"]
    if settings.quick and invocation["name"] is None:
        content["name"] = f"{content['name']}-quick"
    spec = StudySpec(**content)
    directory = Path(invocation["output_dir"]) if invocation["output_dir"] is not None else Path("runs") / spec.name
    notes = [
        f"The grid varies {axis}, so the value set for all trials, {base[axis]!r}, is not used."
        for axis in spec.grid
        if axis in explicit_names and axis in base
    ]
    notes += removal_notes
    notes += _describe_overridden_flags(spec, _names_of_flags(separated))
    return StudyCommand(spec, options, directory, settings, invocation["dry_run"], invocation["traceback"], notes)


def _add_options_to_base(base: dict[str, Any], options: dict[str, dict[str, str]], search: Any) -> None:
    """Add options from the command line to the settings of all trials of a search.

    Raises:
        ValueError: if an option belongs to a choice that is searched.
    """
    space = search.get("space", {}) if isinstance(search, dict) else {}  # an invalid section is refused later
    for kind, given in options.items():
        if kind in space:
            option = next(iter(given))
            raise ValueError(
                f"--{kind}.{option} is ambiguous, because {kind} is searched. Search the option, such as "
                f"--search {kind}.{option}={given[option]}, or list choices with their options."
            )
    add_options_to_choices(base, options)


def _drop_entries_outside_grid(content: dict[str, Any], axes: Mapping[str, list[Any]]) -> list[str]:
    """Remove exclude and override entries of a study file that match none of the values given by flags.

    Returns:
        A message for each removed entry.
    """
    notes = []
    for kind in ("exclude", "override"):
        remaining = []
        for entry in content.get(kind, []):
            wanted = entry.get("when") if kind == "override" and isinstance(entry, Mapping) else entry
            if not isinstance(wanted, Mapping) or can_match(wanted, axes):  # an invalid entry is refused later
                remaining.append(entry)
            else:
                notes.append(
                    f"The study's {kind} entry {dict(wanted)} is ignored, because the values given by --heads, --seeds "
                    "or --grid do not match it."
                )
        if remaining or kind in content:
            content[kind] = remaining
    return notes


def _describe_overridden_flags(spec: StudySpec, flags: Set[str]) -> list[str]:
    """Return a message for each case in which a recipe of the grid, an arm or an override replaces a flag's value."""
    layers = [(f"The recipe {_join_recipes(recipes)}", {"recipe": recipes}) for recipes in spec.grid.get("recipe", [])]
    layers += [(f"The arm '{arm}'", settings) for arm, settings in spec.arms.items()]
    layers += [(f"The override of {entry['when']}", entry["set"]) for entry in spec.override]
    notes = []
    for layer, settings in layers:
        recipes = settings.get("recipe", [])
        layer_settings = merge_recipes(recipes) | settings
        notes += [
            f"{layer} sets {name} to {layer_settings[name]!r}, which overrides --{name} for its trials."
            for name in layer_settings
            if name in flags and name not in spec.grid
        ]
    return notes


def _join_recipes(recipes: str | list[str]) -> str:
    return recipes if isinstance(recipes, str) else " + ".join(map(str, recipes))


def _merge_base(
    separated: SeparatedFlags, file_base: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], set[str]]:
    """Merge the section `base` of the study file, the recipes and the flags into the base of the study.

    Args:
        separated: flags of the command line.
        file_base: the section `base` of the study file.
    Returns:
        The settings of all trials, the settings that concern the invocation, and the names of all settings that were
        set explicitly.
    """
    recipes = file_base.pop("recipe", [])
    check_setting_names(file_base, "setting in the base")
    file_settings = merge_recipes(recipes) | file_base
    recipe_settings = build_base_recipe(separated)
    # Without the names in `recipe_settings`, which also contains the settings that a fork inherits.
    explicit_names = {*file_settings, *merge_recipes(separated.recipes), *_names_of_flags(separated)}
    if "fork" in file_settings:
        file_settings = read_inherited_settings(str(file_settings["fork"])) | file_settings
    settings = convert_settings(file_settings | recipe_settings, separated.arguments)
    invocation = {
        name: settings.pop(name) for name in names_where(lambda declared: declared.effect is Effect.INVOCATION)
    }
    for name, value in invocation.items():
        alternative = declaration_of(name).study_alternative
        if value and alternative is not None:
            raise ValueError(f"--{name} is not available in a study: {alternative}.")
    if settings["cache_features"] is None and not settings["streaming"]:
        settings["cache_features"] = True  # many trials read the same hidden states
    if "report" not in explicit_names:
        settings["report"] = False  # the report of the study replaces those of its trials
    return settings, invocation, explicit_names


def _names_of_flags(separated: SeparatedFlags) -> set[str]:
    # `separate_flags` writes each item of a list setting as `--freeze+=head`, so the name ends before the "+".
    return {argument.removeprefix("--").partition("=")[0].rstrip("+") for argument in separated.arguments}


def _parse_axes(study_flags: Mapping[str, list[str]]) -> dict[str, list[Any]]:
    """Return the axes that --heads, --seeds and --grid define.

    Raises:
        ValueError: if a value cannot be parsed, or if an axis is given twice.
    """
    texts = [("head", text) for text in study_flags.get("heads", [])]
    texts += [("seed", text) for text in study_flags.get("seeds", [])]
    for text in study_flags.get("grid", []):
        name, equals, values = text.partition("=")
        if not equals:
            raise ValueError(f"Expected --grid in the form setting=value,value, got '{text}'.")
        texts.append((name.strip().replace("-", "_"), values))
    axes: dict[str, list[Any]] = {}
    types = setting_types()
    for name, text in texts:
        if name in axes:
            raise ValueError(f"The grid's axis '{name}' is given twice. Give all of its values at once.")
        axis_values = _parse_values(name, text)
        _refuse_brackets("grid", name, axis_values)
        axes[name] = [coerce_like_cli(value, types.get(name)) for value in axis_values]
        if name == "template" and any(isinstance(value, dict) for value in axes[name]):
            raise ValueError(
                "Expected each template of the grid in quotes, such as --grid 'template=\"Review: {text}\",null'; got "
                f"'{text}'."
            )
    return axes


def _parse_search_flags(flags: Mapping[str, list[str]], settings: StudySettings) -> dict[str, Any]:
    """Return the keys of the section `search` that flags define.

    Raises:
        ValueError: if a value cannot be parsed.
    """
    search: dict[str, Any] = {}
    if "search" in flags:
        search["space"] = {}
        for name, values in map(parse_flag, flags["search"]):
            if name in search["space"]:
                raise ValueError(f"--search {name} is given twice. Give all of its values at once.")
            _refuse_brackets("search", name, values)
            search["space"][name] = values
    if "point" in flags:
        search["points"] = [_parse_assignments("point", text) for text in flags["point"]]
    if "warm_start" in flags:
        search["warm_start"] = flags["warm_start"]
    for name in ("trials", "hours", "minimize"):
        if name in flags:
            search[name] = getattr(settings, name)
    for name in ("sampler", "pruner"):
        if name in flags:
            try:
                search[name] = yaml.safe_load(flags[name][-1])
            except yaml.YAMLError as error:
                raise ValueError(f"Cannot read --{name} '{flags[name][-1]}': {one_line(error)}") from None
    if "search_seed" in flags:
        search["seed"] = settings.search_seed
    return search


def _refuse_brackets(flag: str, name: str, values: Any) -> None:
    """Refuse values in brackets, which would be a single list, for a setting that takes no list.

    Raises:
        ValueError: if a value is a list; the message shows how to write the values.
    """
    value_type = setting_types().get(name)
    if value_type is None or any(typing.get_origin(each) is list for each in alternatives(value_type)):
        return
    for value in values if isinstance(values, list) else []:
        if isinstance(value, list):
            items = ",".join(map(str, value))
            raise ValueError(
                f"Expected the values of {name} without brackets, as in --{flag} {name}={items}; got [{items}], which "
                "is one value."
            )


def _parse_values(name: str, text: str) -> list[Any]:
    try:
        values = yaml.safe_load(f"[{text}]")
    except yaml.YAMLError as error:
        raise ValueError(f"Cannot read the values of {name}, '{text}': {one_line(error)}") from None
    assert isinstance(values, list)
    if not values:
        raise ValueError(f"Expected values of {name} separated by commas, got '{text}'.")
    return values


def _parse_assignments(flag: str, text: str) -> dict[str, Any]:
    """Parse the value of a flag that has the form `head=lstm,lr=1e-3`."""
    entry = {}
    for part in re.split(r",(?![^{[]*[}\]])", text):  # split at commas outside of brackets
        name, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"Expected --{flag} in the form setting=value,setting=value, got '{text}'.")
        try:
            entry[name.strip().replace("-", "_")] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ValueError(f"Cannot read --{flag} '{text}': {one_line(error)}") from None
    return entry

"""The command line of studies: flags of a study are taken out, what is left are settings of all its trials."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from research.settings.arguments import HELP
from research.settings.command_line import (
    FoldedArguments,
    base_recipe,
    build_help_request,
    check_setting_names,
    coerce_like_cli,
    fold,
    merge_recipes,
    typed_settings,
)
from research.settings.declarations import Effect, setting
from research.settings.flags import declaration_of, names_where, setting_types
from research.settings.forks import inherited_settings
from research.settings.program import HelpRequest, Program
from research.settings.script_settings import parse_group, split_flags
from research.studies.grid import StudySpec, fits, read_study_file
from research.studies.time_limit import parse_seconds
from research.system.errors import one_line
from research.system.scripts import script_argument


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """Study"""

    study: str | None = setting(None, effect=Effect.INVOCATION)
    """YAML file with a study (experiments/studies/*.yaml); flags override it."""
    quick: bool = setting(False, effect=Effect.INVOCATION)
    """The study file's short version, to see that all of it works."""
    heads: str | None = setting(None, effect=Effect.INVOCATION)
    """Heads to compare, between commas: linear,attention,{name: lstm, lstm_size: 64}."""
    seeds: str | None = setting(None, effect=Effect.INVOCATION)
    """Seeds of each arm, between commas; 0-4 are five. Five or more give verdicts, fewer only intervals."""
    grid: str | None = setting(None, effect=Effect.INVOCATION, takes_several=True)
    """Values of any setting, between commas: lr=1e-5,3e-5; several may follow each other, or the flag be repeated."""
    exclude: str | None = setting(None, effect=Effect.INVOCATION)
    """A combination to leave out: head=lstm,lr=1e-3; may be repeated."""
    baseline: str | None = setting(None, effect=Effect.INVOCATION)
    """The arm that the others are compared with; by default the first."""
    metric: str | None = setting(None, effect=Effect.INVOCATION)
    """Metric that is compared; by default accuracy, subset_accuracy or pearson, by the kind of labels."""
    split: Literal["test", "validation"] = setting("test", effect=Effect.INVOCATION)
    """Rows that it is measured on."""
    workers: int = setting(1, effect=Effect.INVOCATION, above=0, unit="trials")
    """Trials at a time on this machine, which share its cores or take a GPU each."""
    accelerate_config: str | None = setting(None, effect=Effect.INVOCATION)
    """Config file of `accelerate launch` for each trial; by default a trial is one plain process."""
    storage: str | None = setting(None, effect=Effect.INVOCATION)
    """Address of a database that several machines share (postgresql+psycopg://user@host/name); by default a file in
    the study's directory."""
    retry_failed: bool = setting(False, effect=Effect.INVOCATION)
    """Try failed trials once more."""
    trial_timeout: str | None = setting(None, effect=Effect.INVOCATION, unit="time: 2h, 90m, 1h30m")
    """How long one attempt at a trial may take: 2h, 90m. A trial that takes longer fails, and keeps its checkpoint."""
    drop_waiting: bool = setting(False, effect=Effect.INVOCATION)
    """Remove waiting trials of an earlier grid, which are run as well otherwise."""
    report_texts: bool = setting(True, effect=Effect.INVOCATION)
    """Show rows' texts in report.html; false for a page that goes to those who may not read them."""


@dataclass
class StudyCommand:
    """What the command line asks for."""

    spec: StudySpec
    """What is compared."""
    options: dict[str, dict[str, str]]
    """Options of choices, for every trial."""
    directory: Path
    """Where the study lies."""
    settings: StudySettings
    """How it is run."""
    dry_run: bool
    """Whether trials are only listed."""
    traceback: bool
    """Whether errors in the user's own code are shown with their tracebacks."""
    notes: list[str]
    """What is to be said of the command itself."""


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """A further worker"""

    study: str = setting("", effect=Effect.INVOCATION)
    """Name of the study; it is needed."""
    storage: str = setting("", effect=Effect.INVOCATION)
    """Address of its database, as ablate.py got it; it is needed."""
    directory: str | None = setting(None, effect=Effect.INVOCATION)
    """Where its trials lie here; by default runs/<study>."""
    accelerate_config: str | None = setting(None, effect=Effect.INVOCATION)
    """Config file of `accelerate launch` for each trial."""
    num_workers: int = setting(1, effect=Effect.INVOCATION, above=0, unit="workers")
    """Workers that share this machine."""
    trial_timeout: str | None = setting(None, effect=Effect.INVOCATION, unit="time: 2h, 90m, 1h30m")
    """How long one attempt at a trial may take: 2h, 90m; by default as long as it takes."""
    traceback: bool = setting(False, effect=Effect.INVOCATION)
    """Show the whole traceback of an error in your own code."""


STUDY = Program(
    "ablate.py",
    f"""python {script_argument("ablate")} [--heads a,b] [--seeds 0,1,2,3,4] [--grid setting=value,value ...]
       [--study FILE.yaml] [--setting value ...]
       python {script_argument("ablate")} work --study NAME --storage ADDRESS    (on further machines)""",
    "Compare heads, seeds and any other settings: every setting of run.py is one of all trials.",
    own=(StudySettings,),
)
WORK = Program(
    "ablate.py work",
    f"python {script_argument('ablate')} work --study NAME --storage ADDRESS [--setting value ...]",
    "Work on a study that was planned, on this or another machine.",
    own=(WorkerSettings,),
    takes_run_settings=False,
)


def parse_work(arguments: Sequence[str]) -> WorkerSettings | HelpRequest:
    """Read the command line of a further worker.

    Args:
        arguments: what follows `work`.
    Raises:
        ValueError: for an unknown name, a value that cannot be, or without a study or its storage.
    """
    flags = WORK.read(arguments)
    if any(flag.name == HELP for flag in flags):
        return HelpRequest(WORK)
    given, _ = split_flags(WorkerSettings, flags)
    settings = parse_group(WorkerSettings, given)
    missing = [f"--{name}" for name in ("study", "storage") if not getattr(settings, name)]
    if missing:
        raise ValueError(f"A further worker needs {' and '.join(missing)}: {WORK.usage}")
    if settings.trial_timeout is not None:
        parse_seconds(settings.trial_timeout)
    return settings


def parse_study(arguments: Sequence[str]) -> StudyCommand | HelpRequest:
    """Read a command line.

    Args:
        arguments: what follows the script's name.
    Raises:
        ValueError: for an unknown name or a value that cannot be; the message is one for the user.
    """
    given, flags = split_flags(StudySettings, STUDY.read(arguments))
    folded = fold(flags)
    if folded.wants_help:
        return build_help_request(STUDY, folded)
    settings = parse_group(StudySettings, given)
    if settings.trial_timeout is not None:
        parse_seconds(settings.trial_timeout)
    content = {} if settings.study is None else read_study_file(Path(settings.study), quick=settings.quick)
    if settings.quick and settings.study is None:
        raise ValueError("--quick needs --study: it takes the short version of a study file.")
    own_base = dict(content.get("base", {}))
    base, place, given_in_base = _base(folded, own_base)
    if settings.study is not None:
        content.setdefault("name", Path(settings.study).stem)
    content |= {name: getattr(settings, name) for name in ("baseline", "metric", "split") if name in given}
    axes = _axes(given)
    content["grid"] = {**content.get("grid", {}), **axes}
    narrowed = _leave_out_what_fits_no_more(content, axes)
    content["exclude"] = [*content.get("exclude", []), *map(_combination, given.get("exclude", []))]
    content["base"] = base
    if place["name"] is not None:
        content["name"] = place["name"]
    if settings.quick and place["name"] is None:
        content["name"] = f"{content['name']}-quick"
    spec = StudySpec(**content)
    directory = Path(place["output_dir"]) if place["output_dir"] is not None else Path("runs") / spec.name
    notes = [
        f"The grid's {axis} replaces {base[axis]!r} of the base."
        for axis in spec.grid
        if axis in given_in_base and axis in base
    ]
    notes += narrowed
    notes += _replaced_in_some_arms(spec, _names(folded))
    return StudyCommand(spec, folded.options, directory, settings, place["dry_run"], place["traceback"], notes)


def _leave_out_what_fits_no_more(content: dict[str, Any], axes: Mapping[str, list[Any]]) -> list[str]:
    """Take out of a study file what is about values that flags took out of its grid; return what is to be said."""
    notes = []
    for kind in ("exclude", "override"):
        kept = []
        for entry in content.get(kind, []):
            wanted = entry.get("when") if kind == "override" and isinstance(entry, Mapping) else entry
            if not isinstance(wanted, Mapping) or fits(wanted, axes):  # what is no entry is refused later
                kept.append(entry)
            else:
                notes.append(f"The study's {kind} of {dict(wanted)} is left out: the grid's flags have no such value.")
        if kept or kind in content:
            content[kind] = kept
    return notes


def _replaced_in_some_arms(spec: StudySpec, flags: Set[str]) -> list[str]:
    """Say which flags do not hold for all arms: recipes of the grid, arms and overrides may have their own values."""
    layers = [(f"The recipe {_listed(recipes)}", {"recipe": recipes}) for recipes in spec.grid.get("recipe", [])]
    layers += [(f"The arm '{arm}'", settings) for arm, settings in spec.arms.items()]
    layers += [(f"The override of {entry['when']}", entry["set"]) for entry in spec.override]
    notes = []
    for place, settings in layers:
        recipes = settings.get("recipe", [])
        own = merge_recipes(recipes) | settings
        notes += [
            f"{place} has its own {name}, {own[name]!r}, in the place of that of --{name}."
            for name in own
            if name in flags and name not in spec.grid
        ]
    return notes


def _listed(recipes: str | list[str]) -> str:
    return recipes if isinstance(recipes, str) else " + ".join(map(str, recipes))


def _base(folded: FoldedArguments, own: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], set[str]]:
    """Return the settings of all trials, those that are about the study itself, and the names of the given ones."""
    recipes = own.pop("recipe", [])
    check_setting_names(own, "setting in the base")
    layers = merge_recipes(recipes) | own
    from_recipes = base_recipe(folded)
    names = {*layers, *from_recipes, *_names(folded)}
    if "fork" in layers:
        layers = inherited_settings(str(layers["fork"])) | layers
    settings = typed_settings(layers | from_recipes, folded.arguments)
    place = {name: settings.pop(name) for name in names_where(lambda declared: declared.effect is Effect.INVOCATION)}
    for name, value in place.items():
        instead = declaration_of(name).study_alternative
        if value and instead is not None:
            raise ValueError(f"A study takes no --{name}: {instead}.")
    if settings["cache_features"] is None:
        settings["cache_features"] = True  # they serve many trials
    return settings, place, names


def _names(folded: FoldedArguments) -> set[str]:
    return {argument.removeprefix("--").partition("=")[0].rstrip("+") for argument in folded.arguments}


def _axes(given: Mapping[str, list[str]]) -> dict[str, list[Any]]:
    """Return the axes that flags name.

    Raises:
        ValueError: for a value that cannot be read, or an axis that is given twice.
    """
    texts = [("head", text) for text in given.get("heads", [])] + [("seed", text) for text in given.get("seeds", [])]
    for text in given.get("grid", []):
        name, equals, values = text.partition("=")
        if not equals:
            raise ValueError(f"Expected --grid as setting=value,value, got '{text}'.")
        texts.append((name.strip().replace("-", "_"), values))
    axes: dict[str, list[Any]] = {}
    kinds = setting_types()
    for name, text in texts:
        if name in axes:
            raise ValueError(f"The grid has the axis '{name}' twice.")
        axes[name] = [coerce_like_cli(value, kinds.get(name)) for value in _list(name, text)]
    return axes


def _list(name: str, text: str) -> list[Any]:
    try:
        values = yaml.safe_load(f"[{text}]")
    except yaml.YAMLError as error:
        raise ValueError(f"Cannot read the values of {name}, '{text}': {one_line(error)}") from None
    assert isinstance(values, list)
    if not values:
        raise ValueError(f"Expected values of {name} between commas, got '{text}'.")
    return values


def _combination(text: str) -> dict[str, Any]:
    """Return the entry that `head=lstm,lr=1e-3` stands for."""
    entry = {}
    for part in re.split(r",(?![^{[]*[}\]])", text):  # not at commas inside of brackets
        name, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"Expected --exclude as setting=value,setting=value, got '{text}'.")
        try:
            entry[name.strip().replace("-", "_")] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ValueError(f"Cannot read --exclude '{text}': {one_line(error)}") from None
    return entry

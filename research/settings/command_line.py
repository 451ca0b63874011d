"""Parse the command line: flags and recipes become a `RunConfig`.

jsonargparse parses, converts and documents the settings. This module adds two things: options of a choice
(`--head.lstm_size 128`) become part of that choice, and a misspelt name gets a suggestion.
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from heads.registry import UnknownNameError, describe_unknown
from research.settings.arguments import HELP, Flag
from research.settings.config import Choice, RunConfig
from research.settings.flags import (
    INSPECTION_FLAGS,
    SETTINGS_WITH_OPTIONS,
    Listing,
    declaration_of,
    setting_types,
)
from research.settings.forks import read_inherited_settings
from research.settings.list_values import split_items
from research.settings.program import RUN, HelpRequest, Program
from research.settings.type_errors import describe_type_error
from research.system.errors import one_line
from research.system.paths import expand_path


@dataclass
class Command:
    """A parsed command line of run.py: the settings, and the values of the inspection flags (`listing` is --list)."""

    config: RunConfig
    print_config: bool = False
    listing: Listing | None = None
    dry_run: bool = False
    traceback: bool = False


@dataclass
class SeparatedFlags:
    """The flags of a command line, separated into those for jsonargparse and those that it does not handle."""

    arguments: list[str] = field(default_factory=list)
    """Flags for jsonargparse, as `--name=value`, or as `--name+=item` for each item of a list."""
    recipes: list[str] = field(default_factory=list)
    """Paths of the recipes."""
    options: dict[str, dict[str, str]] = field(default_factory=dict)
    """Values of options, by setting and by the rest of the flag: `lstm_size` for heads, `ema.decay` for hooks."""
    wants_help: bool = False
    """Whether the command line requests help."""


def parse(arguments: Sequence[str]) -> Command | HelpRequest:
    """Parse a command line.

    Args:
        arguments: the arguments after the script's name.
    Raises:
        ValueError: if a name is unknown or a value has the wrong type; the message is written for the user.
    """
    separated = separate_flags(RUN.read_flags(arguments))
    return build_help_request(RUN, separated) if separated.wants_help else build_command(separated)


def build_command(separated: SeparatedFlags) -> Command:
    """Build a command from the flags of a command line.

    Raises:
        ValueError: see `parse`.
    """
    settings = convert_settings(build_base_recipe(separated), separated.arguments)
    inspection = {name: settings.pop(name) for name in INSPECTION_FLAGS}
    add_options_to_choices(settings, separated.options)
    return Command(
        RunConfig(**settings),
        inspection["print_config"],
        inspection["list"],
        inspection["dry_run"],
        inspection["traceback"],
    )


def build_help_request(program: Program, separated: SeparatedFlags) -> HelpRequest:
    """Return a request for help that includes the options of every choice on the command line."""
    values = _names_and_values(separated)
    chosen = [
        (kind, Choice.of(yaml.safe_load(value), kind).name) for kind, value in values if kind in SETTINGS_WITH_OPTIONS
    ]
    plugins = [value for name, value in values if name == "plugin"]
    # If the flag is repeated, its last value counts.
    shows_traceback = [value for name, value in values if name == "traceback"][-1:] == ["true"]
    return HelpRequest(program, tuple(chosen), tuple(plugins), shows_traceback)


def build_base_recipe(separated: SeparatedFlags) -> dict[str, Any]:
    """Merge the recipes of a command line. In a fork, the recipes override the inherited settings.

    Raises:
        ValueError: if a recipe or the settings of a fork's parent cannot be read.
    """
    recipe = merge_recipes(separated.recipes)
    forks = [value for name, value in _names_and_values(separated) if name == "fork"]
    fork = forks[-1] if forks else recipe.get("fork")
    if fork is not None and not is_complete(recipe):  # a fork's own config.yaml already contains inherited settings
        recipe = read_inherited_settings(str(fork)) | recipe
    return recipe


def convert_settings(recipe: dict[str, Any], arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Return all settings and inspection flags, converted to their types.

    Flags override the recipe, and both override the defaults.

    Args:
        recipe: settings by name.
        arguments: flags as returned by `separate_flags`.
    Raises:
        ValueError: if a value has the wrong type.
    """
    parser = RUN.parser
    try:
        namespace = parser.parse_object(_coerce_all(recipe))
        settings = parser.parse_args(list(arguments), namespace=namespace).as_dict()
    except ArgumentError as error:
        raise ValueError(describe_type_error(error, setting_types())) from None
    del settings["recipe"]  # recipes are already merged
    return settings


def convert_value(name: str, value: Any) -> Any:
    """Convert the value of one setting like `convert_settings`, but faster: no other settings are processed.

    Args:
        name: name of the setting.
        value: value as read by YAML.
    Raises:
        ValueError: if the value has the wrong type.
    """
    try:
        namespace = _parser_of(name).parse_object({name: coerce_like_cli(value, setting_types()[name])})
    except ArgumentError:
        return convert_settings({name: value})[name]  # raises the same error as for a whole recipe
    return namespace.as_dict()[name]


@functools.cache
def _parser_of(name: str) -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_argument(f"--{name}", type=setting_types()[name])
    return parser


def separate_flags(flags: Iterable[Flag]) -> SeparatedFlags:
    """Separate recipes, help and options of choices from all other flags, which are for jsonargparse.

    A list flag may be repeated, and its value may contain several items separated by commas.

    Raises:
        ValueError: if a list or a mapping cannot be read.
    """
    flag_types = RUN.flag_types
    separated = SeparatedFlags()
    for flag in flags:
        name, value = flag.name, flag.value
        if name == HELP:
            separated.wants_help = True
        elif name == "recipe":
            separated.recipes.append(value)
        elif flag.option is not None:
            separated.options.setdefault(name, {})[flag.option] = value
        elif typing.get_origin(flag_types[name]) is list:
            separated.arguments += [f"--{name}+={item}" for item in split_items(name, value)]
            if declaration_of(name).flags_replace_list and f"--{name}=[]" not in separated.arguments:
                separated.arguments.insert(0, f"--{name}=[]")  # flags replace the recipe's list, or the default
        else:
            separated.arguments.append(f"--{name}={value}")
    return separated


def merge_recipes(paths: str | Sequence[str]) -> dict[str, Any]:
    """Read recipes and merge them; later recipes override earlier ones.

    Raises:
        ValueError: if a file cannot be read, is not a mapping, or has a key that is not a setting.
    """
    merged: dict[str, Any] = {}
    for path in paths if isinstance(paths, list | tuple) else [paths]:
        if not isinstance(path, str):  # a study file may contain any value
            raise ValueError(f"Expected the path of a recipe, got {path!r}.")
        try:
            recipe = yaml.safe_load(expand_path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise ValueError(f"Cannot read the recipe {path}: {error.strerror}.") from None
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"The recipe {path} is not valid YAML: {one_line(error)}") from None
        if not isinstance(recipe, dict):
            raise ValueError(
                f"The recipe {path} must map settings to values, such as head: lstm; got {type(recipe).__name__}."
            )
        check_setting_names(recipe, "recipe key", f"{path}: ")
        merged |= recipe
    return merged


def check_setting_names(names: Iterable[object], kind: str, prefix: str = "") -> None:
    """Check that all names are settings that a recipe may contain.

    Args:
        names: the names to check.
        kind: what the message calls a name, such as "recipe key".
        prefix: start of the message, such as "recipe.yaml: ".
    Raises:
        UnknownNameError: if a name is unknown; suggests the nearest setting and lists all of them.
    """
    known = [name for name in setting_types() if name not in INSPECTION_FLAGS]
    for name in names:
        if name not in known:
            raise UnknownNameError(prefix + describe_unknown(kind, str(name), known, listed_as="Settings"))


def is_complete(recipe: dict[str, Any]) -> bool:
    """Return whether a recipe contains every setting that is needed to repeat a run, as a run's config.yaml does."""
    return recipe.keys() >= RunConfig().to_recipe().keys()


def add_options_to_choices(settings: dict[str, Any], options: dict[str, dict[str, str]]) -> None:
    """Add the options given as `--head.<option>`, `--hook.<name>.<option>` and so on to their choices in `settings`.

    Raises:
        ValueError: if an option is given for something that was not chosen.
    """
    for kind, given in options.items():
        if kind != "hook":
            if settings[kind] is None:
                raise ValueError(
                    f"--{kind}.{next(iter(given))} also needs --{kind} <name>: --{kind} has no fixed default."
                )
            choice = Choice.of(settings[kind], kind)
            settings[kind] = Choice(choice.name, {**choice.options, **given}).to_yaml()
            continue
        hooks = [Choice.of(hook, kind) for hook in settings["hook"]]
        for name_and_option, value in given.items():
            name, _, option = name_and_option.partition(".")
            chosen = [hook for hook in hooks if hook.name == name]
            if not chosen:
                raise ValueError(f"--hook.{name_and_option} needs --hook {name}.")
            chosen[-1].options[option] = value  # if a hook is added twice, options apply to the last one
        settings["hook"] = [hook.to_yaml() for hook in hooks]


def _names_and_values(separated: SeparatedFlags) -> list[tuple[str, str]]:
    """Return the name and value of each flag for jsonargparse."""
    split = [argument.removeprefix("--").partition("=") for argument in separated.arguments]
    return [(name.rstrip("+"), value) for name, _, value in split]


def _coerce_all(recipe: dict[str, Any]) -> dict[str, Any]:
    """Convert values such as `warmup: 0` and `mixed_precision: no` as the command line would."""
    types_by_name = setting_types()
    return {key: coerce_like_cli(value, types_by_name[key]) for key, value in recipe.items()}


def coerce_like_cli(value: Any, type_hint: Any) -> Any:
    """Convert a value read by YAML to the value that the command line would give.

    Args:
        value: value as read by YAML. A number becomes a string if the setting accepts only strings; False becomes "no"
            if the setting accepts "no".
        type_hint: type of the setting; None for an unknown setting, whose value is returned unchanged.
    """
    if value is False and "no" in typing.get_args(type_hint):
        return "no"
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number and _accepts_only_strings(type_hint) else value


def _accepts_only_strings(type_hint: Any) -> bool:
    members = typing.get_args(type_hint) if isinstance(type_hint, types.UnionType) else (type_hint,)
    return set(members) <= {str, type(None)}

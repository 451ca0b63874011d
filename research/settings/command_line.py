"""The command line: flags and recipes in, a `RunConfig` out.

jsonargparse does the parsing, typing and help. Two things it does not do are done in a small step before and after it:
options of a choice (`--head.lstm_size 128`) are folded into that choice, and misspelt names are answered with near
ones.
"""

from __future__ import annotations

import functools
import json
import re
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
    INSPECTION,
    WITH_OPTIONS,
    Listing,
    declaration_of,
    setting_types,
)
from research.settings.forks import inherited_settings
from research.settings.program import RUN, HelpRequest, Program
from research.settings.type_errors import describe_mistyped
from research.system.errors import one_line
from research.system.paths import look_up


@dataclass
class Command:
    """What the command line asks for."""

    config: RunConfig
    print_config: bool = False
    listing: Listing | None = None
    dry_run: bool = False
    traceback: bool = False


@dataclass
class FoldedArguments:
    """The arguments that jsonargparse takes, and the options that it does not."""

    arguments: list[str] = field(default_factory=list)
    recipes: list[str] = field(default_factory=list)
    options: dict[str, dict[str, str]] = field(default_factory=dict)
    wants_help: bool = False


def parse(arguments: Sequence[str]) -> Command | HelpRequest:
    """Read a command line.

    Args:
        arguments: what follows the script's name.
    Raises:
        ValueError: for an unknown name or a value of the wrong type; the message is one for the user.
    """
    folded = fold(RUN.read(arguments))
    return request_help(RUN, folded) if folded.wants_help else command_of(folded)


def command_of(folded: FoldedArguments) -> Command:
    """Return what the settings of a run on a command line ask for.

    Raises:
        ValueError: as `parse`.
    """
    settings = typed_settings(base_recipe(folded), folded.arguments)
    looking = {name: settings.pop(name) for name in INSPECTION}
    fold_options(settings, folded.options)
    return Command(
        RunConfig(**settings), looking["print_config"], looking["list"], looking["dry_run"], looking["traceback"]
    )


def request_help(program: Program, folded: FoldedArguments) -> HelpRequest:
    """Return what help is to show: of what was chosen on the command line, the options as well."""
    values = _values(folded)
    chosen = [(kind, Choice.of(yaml.safe_load(value), kind).name) for kind, value in values if kind in WITH_OPTIONS]
    plugins = [value for name, value in values if name == "plugin"]
    shows_traceback = [value for name, value in values if name == "traceback"][-1:] == ["true"]
    return HelpRequest(program, tuple(chosen), tuple(plugins), shows_traceback)


def base_recipe(folded: FoldedArguments) -> dict[str, Any]:
    """Return what a command line's recipes say, over the settings of the run that it forks.

    Raises:
        ValueError: if a recipe, or the run's settings, cannot be read.
    """
    recipe = merge_recipes(folded.recipes)
    forks = [value for name, value in _values(folded) if name == "fork"]
    fork = forks[-1] if forks else recipe.get("fork")
    if fork is not None and not is_complete(recipe):  # a fork's own config.yaml is, and its parent may be gone
        recipe = inherited_settings(str(fork)) | recipe
    return recipe


def typed_settings(recipe: dict[str, Any], arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Return every setting, typed: the defaults, a recipe's over them, and flags over both.

    Args:
        recipe: settings by name.
        arguments: plain flags, as `fold` writes them.
    Raises:
        ValueError: for a value of the wrong type.
    """
    parser = RUN.parser
    try:
        namespace = parser.parse_object(_coerce_all(recipe))
        settings = parser.parse_args(list(arguments), namespace=namespace).as_dict()
    except ArgumentError as error:
        raise ValueError(describe_mistyped(error, setting_types())) from None
    del settings["recipe"]  # merged already
    return settings


def typed_value(name: str, value: Any) -> Any:
    """Return the value of one setting, typed as `typed_settings` does it, without typing all others again.

    Args:
        name: of the setting.
        value: as YAML reads it.
    Raises:
        ValueError: for a value of the wrong type.
    """
    try:
        namespace = _parser_of(name).parse_object({name: coerce_like_cli(value, setting_types()[name])})
    except ArgumentError:
        return typed_settings({name: value})[name]  # reports the error as for a whole recipe
    return namespace.as_dict()[name]


@functools.cache
def _parser_of(name: str) -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_argument(f"--{name}", type=setting_types()[name])
    return parser


def fold(flags: Iterable[Flag]) -> FoldedArguments:
    """Separate recipes, help and options of choices from the plain flags, and write the plain flags one way.

    A list flag may be repeated or hold commas.

    Raises:
        ValueError: for a list or a mapping that cannot be read.
    """
    kinds = RUN.flag_types
    folded = FoldedArguments()
    for flag in flags:
        name, value = flag.name, flag.value
        if name == HELP:
            folded.wants_help = True
        elif name == "recipe":
            folded.recipes.append(value)
        elif flag.option is not None:
            folded.options.setdefault(name, {})[flag.option] = value
        elif typing.get_origin(kinds[name]) is list:
            folded.arguments += [f"--{name}+={item}" for item in _items(name, value)]
            if declaration_of(name).flags_replace and f"--{name}=[]" not in folded.arguments:
                folded.arguments.insert(0, f"--{name}=[]")  # given on the command line, it replaces the default
        else:
            folded.arguments.append(f"--{name}={value}")
    return folded


def _items(flag: str, value: str) -> list[str]:
    """Return the items of a list flag's value: one mapping, words between commas, or a list as in YAML.

    Raises:
        ValueError: if it begins like a list or a mapping and is none.
    """
    if value.startswith("{"):
        _check_mapping(flag, value)
    if value.startswith("["):
        try:
            items = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ValueError(
                f"Cannot read the list of --{flag}: '{value}'. Repeat the flag instead, once for each item."
            ) from None
        return [item if isinstance(item, str) else json.dumps(item) for item in items]
    return [value] if value.startswith("{") else [item.strip() for item in value.split(",") if item.strip()]


def _check_mapping(flag: str, value: str) -> None:
    """Refuse a mapping that YAML cannot read, and name what needs quotes.

    Raises:
        ValueError: saying what to write instead.
    """
    try:
        yaml.safe_load(value)
    except yaml.YAMLError:
        unquoted = re.findall(r"(?<![\"'\w.])[\w.]+\[[^\]]*\]", value)
        advice = f"put quotes around {' and '.join(unquoted)}" if unquoted else "write it as {name: value, ...}"
        raise ValueError(f"Cannot read --{flag} {value}: {advice}.") from None


def merge_recipes(paths: str | Sequence[str]) -> dict[str, Any]:
    """Read recipes, later ones over earlier ones.

    Raises:
        ValueError: if a file cannot be read, is not a mapping, or has a key that no setting has.
    """
    merged: dict[str, Any] = {}
    for path in paths if isinstance(paths, list | tuple) else [paths]:
        if not isinstance(path, str):
            raise ValueError(f"Expected the path of a recipe, got {path!r}.")
        try:
            recipe = yaml.safe_load(look_up(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise ValueError(f"Cannot read the recipe {path}: {error.strerror}.") from None
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"The recipe {path} is not YAML: {one_line(error)}") from None
        if not isinstance(recipe, dict):
            raise ValueError(
                f"The recipe {path} must map settings to values (head: lstm); got {type(recipe).__name__}."
            )
        refuse_unknown_settings(recipe, "recipe key", f"{path}: ")
        merged |= recipe
    return merged


def refuse_unknown_settings(names: Iterable[object], kind: str, place: str = "") -> None:
    """Refuse names that no setting of a recipe has.

    Args:
        names: what was given.
        kind: what they are called in the message.
        place: what stands before it.
    Raises:
        UnknownNameError: naming the nearest setting and all of them.
    """
    known = [name for name in setting_types() if name not in INSPECTION]
    for name in names:
        if name not in known:
            raise UnknownNameError(place + describe_unknown(kind, str(name), known, listed_as="Settings"))


def is_complete(recipe: dict[str, Any]) -> bool:
    """Return whether a recipe has every setting of a recipe that repeats a run, as a run's config.yaml."""
    return recipe.keys() >= RunConfig().to_recipe().keys()


def fold_options(settings: dict[str, Any], options: dict[str, dict[str, str]]) -> None:
    """Put `--head.<option>`, `--hook.<name>.<option>` and the like into the choices that they belong to.

    Raises:
        ValueError: if options are given for something that was not chosen.
    """
    for kind, given in options.items():
        if kind != "hook":
            if settings[kind] is None:
                raise ValueError(f"--{kind}.{next(iter(given))} needs --{kind} as well: there is no single default.")
            choice = Choice.of(settings[kind], kind)
            settings[kind] = Choice(choice.name, {**choice.options, **given}).to_yaml()
            continue
        hooks = [Choice.of(hook, kind) for hook in settings["hook"]]
        for dotted, value in given.items():
            name, _, option = dotted.partition(".")
            chosen = [hook for hook in hooks if hook.name == name]
            if not chosen:
                raise ValueError(f"--hook.{dotted} is given, but no --hook {name}.")
            chosen[-1].options[option] = value
        settings["hook"] = [hook.to_yaml() for hook in hooks]


def _values(folded: FoldedArguments) -> list[tuple[str, str]]:
    """Return the name and the value of each plain flag."""
    split = [argument.removeprefix("--").partition("=") for argument in folded.arguments]
    return [(name.rstrip("+"), value) for name, _, value in split]


def _coerce_all(recipe: dict[str, Any]) -> dict[str, Any]:
    """Read `warmup: 0` and `mixed_precision: no` as the command line would."""
    kinds = setting_types()
    return {key: coerce_like_cli(value, kinds[key]) for key, value in recipe.items()}


def coerce_like_cli(value: Any, kind: Any) -> Any:
    """Return a value that YAML read as the command line would read it.

    Args:
        value: the value; a number where a setting is text, and False where `no` is a choice, become text.
        kind: the setting's type; None, of what is no setting, changes nothing.
    """
    if value is False and "no" in typing.get_args(kind):
        return "no"
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number and _takes_text_only(kind) else value


def _takes_text_only(kind: Any) -> bool:
    members = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    return set(members) <= {str, type(None)}

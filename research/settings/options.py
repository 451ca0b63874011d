"""Options of registered classes and functions: the keyword-only parameters of their signatures."""

from __future__ import annotations

import inspect
import json
import math
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import docstring_parser
import yaml
from jsonargparse import ArgumentError, ArgumentParser

from heads.registry import Registry, UnknownNameError, describe_unknown
from research.settings.config import Choice
from research.settings.type_errors import describe_type_error
from research.system.user_code import ErrorsAttributedTo


@dataclass(frozen=True)
class Option:
    """One option of a head, hook, objective or schedule, or one argument of an edit."""

    name: str
    """Name after the dot on the command line."""
    type: Any
    """Annotation of the parameter."""
    default: Any
    """Default value; `inspect.Parameter.empty` if there is none."""
    help: str
    """Description in the docstring's Args."""

    @property
    def is_required(self) -> bool:
        """Whether the option has no default."""
        return self.default is inspect.Parameter.empty


def options_of(
    entry: Callable[..., Any],
    *,
    supplied_parameters: tuple[str, ...] = (),
    parameter_kinds: tuple[Any, ...] = (inspect.Parameter.KEYWORD_ONLY,),
) -> tuple[Option, ...]:
    """Return the options of a registered class or function.

    Args:
        entry: the class or function.
        supplied_parameters: parameters that are not options, because the calling code supplies their values.
        parameter_kinds: kinds of parameters that are options.
    """
    function = entry.__init__ if inspect.isclass(entry) else entry
    parameters = [
        parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind in parameter_kinds and name not in supplied_parameters
    ]
    hints = _resolve_type_hints(function, [parameter.name for parameter in parameters])
    documented = docstring_parser.parse(inspect.getdoc(entry) or "").params
    helps = {item.arg_name: " ".join((item.description or "").split()) for item in documented}
    return tuple(
        Option(parameter.name, hints.get(parameter.name, Any), parameter.default, helps.get(parameter.name, ""))
        for parameter in parameters
    )


def _resolve_type_hints(function: Callable[..., Any], names: Sequence[str]) -> dict[str, Any]:
    """Return the types of the named parameters. Other parameters may have types imported only for type checking."""
    function = inspect.unwrap(function)
    annotations = {name: hint for name, hint in getattr(function, "__annotations__", {}).items() if name in names}
    try:
        return typing.get_type_hints(
            types.SimpleNamespace(__annotations__=annotations), getattr(function, "__globals__", {})
        )
    except NameError as error:
        raise ValueError(
            f"The options of {function.__qualname__} ({inspect.getfile(function)}) cannot be read: {error}. Import "
            "the type outside of TYPE_CHECKING."
        ) from None


def resolve_options(
    registry: Registry[Any], choice: Choice, *, supplied_parameters: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return all options of a choice, converted to their types and checked, including options left at their defaults.

    Args:
        registry: registry that contains the name.
        choice: name and options; values may be strings from the command line.
        supplied_parameters: see `options_of`.
    Raises:
        UnknownNameError: if the name or an option is unknown.
        ValueError: if a value does not have the option's type, or a required option is missing.
    """
    options = options_of(registry[choice.name], supplied_parameters=supplied_parameters)
    return convert_options(f"{registry.kind} '{choice.name}'", options, choice.options)


def complete_choice(registry: Registry[Any], choice: Choice, *, supplied_parameters: tuple[str, ...] = ()) -> Choice:
    """Return a choice with all of its options, as plain values that config.yaml and checkpoints store unchanged.

    Raises:
        ValueError: see `resolve_options`; also if the value of an option is not plain.
    """
    options = resolve_options(registry, choice, supplied_parameters=supplied_parameters)
    for name, value in options.items():
        try:
            options[name] = json.loads(json.dumps(value))
        except (TypeError, ValueError):
            raise ValueError(
                f"A checkpoint cannot store {value!r}, the option {name} of the {registry.kind} '{choice.name}'. "
                "Annotate the option with int, float, bool, str, Literal, or a list, tuple or dict of these."
            ) from None
    return Choice(choice.name, options)


def convert_options(
    owner: str, options: Sequence[Option], values: dict[str, Any], term: str = "option"
) -> dict[str, Any]:
    """Return all options of an entry, converted to their types and checked, including options left at their defaults.

    Args:
        owner: what messages call the entry, such as "head 'lstm'".
        options: the options that the entry accepts.
        values: values by name; they may be strings from the command line.
        term: what messages call an option: "option", or "argument" for an edit.
    Raises:
        UnknownNameError: if an option is unknown.
        ValueError: if a value does not have the option's type, or a required option is missing.
    """
    names = [option.name for option in options]
    for name in values:
        if name not in names:
            listed_as = f"{term.capitalize()}s of the {owner}"
            raise UnknownNameError(describe_unknown(term, name, names, listed_as=listed_as))
    missing = [option.name for option in options if option.is_required and option.name not in values]
    if missing:
        raise ValueError(f"The {owner} needs a value for its {term} {', '.join(missing)}.")
    parser = ArgumentParser(exit_on_error=False)
    for option in options:
        parser.add_argument(
            f"--{option.name}", type=option.type, default=None if option.is_required else option.default
        )
    arguments = [f"--{name}={value if isinstance(value, str) else _as_yaml(value)}" for name, value in values.items()]
    try:
        return dict(parser.parse_args(arguments).as_dict())
    except ArgumentError as error:
        problem = describe_type_error(error, {option.name: option.type for option in options})
        raise ValueError(f"The {owner}: {problem}") from None


def _as_yaml(value: Any) -> str:
    """Return a value as YAML, which the parser reads. JSON would not do: it spells infinity and NaN differently."""
    plain_value = json.loads(json.dumps(value, default=_to_plain))
    # PyYAML ends a document that is a single value with "...".
    return yaml.safe_dump(plain_value, default_flow_style=True, width=math.inf).removesuffix("...\n").strip()


def _to_plain(value: Any) -> Any:
    """Convert a NumPy or torch scalar to a plain number, and any other value to a string."""
    return value.item() if hasattr(value, "item") else str(value)


def create(registry: Registry[Any], choice: Choice, *positional: Any) -> Any:
    """Call the chosen class or function with positional arguments and its options.

    Raises:
        ValueError: see `resolve_options`; also any error of the entry itself.
    """
    entry, options = registry[choice.name], resolve_options(registry, choice)
    with errors_attributed_to_entry(registry, choice.name):
        return entry(*positional, **options)


def errors_attributed_to_entry(registry: Registry[Any], name: str) -> ErrorsAttributedTo:
    """Return a context in which errors raised in the code of a registered class or function are attributed to it."""
    entry = registry[name]
    return ErrorsAttributedTo(f"{registry.kind} '{name}'", entry.__init__ if inspect.isclass(entry) else entry)


def describe_entry(entry: Callable[..., Any], options: Sequence[Option]) -> str:
    """Return an entry's summary and source, and the type, default and description of each option."""
    docstring = docstring_parser.parse(inspect.getdoc(entry) or "")
    lines = [f"  {docstring.short_description or ''}"]
    sources = [line for line in (docstring.long_description or "").split("\n\n") if line.startswith("Source: ")]
    lines += [f"  {' '.join(line.split())}" for line in sources]
    for option in options:
        default = "required" if option.is_required else f"default: {option.default!r}"
        lines.append(f"    {option.name} ({_type_name(option.type)}, {default})  {option.help}")
    return "\n".join(lines)


def _type_name(type_hint: Any) -> str:
    is_plain_class = inspect.isclass(type_hint) and not typing.get_args(type_hint)
    return type_hint.__name__ if is_plain_class else str(type_hint).replace("typing.", "")

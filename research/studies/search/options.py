"""Options of choices in the space of a search: which choices have an option, and its type.

Only this module of the search imports the registries, and with them torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from heads.registry import UnknownNameError, describe_unknown
from research.settings.config import Choice
from research.settings.flags import CHOICE_SETTINGS
from research.settings.options import Option, options_of
from research.settings.registries import REGISTRIES, STEP_COUNT_PARAMETERS, load_registry
from research.settings.value_types import alternatives
from research.studies.search.space import Dimension, Range, Values, with_type


def split_option(name: str) -> tuple[str, str] | None:
    """Return the setting and the option in a name such as `head.dropout`, or None if the name is not of this form."""
    setting_name, dot, option = name.partition(".")
    return (setting_name, option) if dot and setting_name in CHOICE_SETTINGS else None


def has_option(setting_name: str, choice: Any, option: str) -> bool:
    """Return whether a choice, such as a head, has an option.

    Args:
        setting_name: name of the setting, such as `head`.
        choice: value of the setting; None has no options.
        option: name of the option.
    """
    return option in {item.name: item for item in _options(setting_name, choice)}


def resolve_option_types(space: Mapping[str, Dimension], base: Mapping[str, Any]) -> dict[str, Dimension]:
    """Return the space with the types of searched options, after checking that the options exist.

    Args:
        space: the space.
        base: settings of all trials.
    Raises:
        UnknownNameError: if none of the choices has an option; suggests a near name.
    """
    resolved: dict[str, Dimension] = {}
    for name, dimension in space.items():
        resolved[name] = dimension
        if (parts := split_option(name)) is None:
            continue
        setting_name, option_name = parts
        searched = space.get(setting_name)
        choices = searched.values if isinstance(searched, Values) else (base.get(setting_name),)
        options = [option for choice in choices for option in _options(setting_name, choice)]
        matching = [option for option in options if option.name == option_name]
        if choices == (None,):
            raise ValueError(
                f"Searching {name} needs --{setting_name} or --search {setting_name}=..., because options belong to a "
                f"chosen {setting_name}."
            )
        if not matching:
            known = {option.name for option in options}
            raise UnknownNameError(describe_unknown(f"option of {setting_name} to search", option_name, known))
        if isinstance(dimension, Range):
            types = {each for option in matching for each in alternatives(option.type)}
            resolved[name] = with_type(name, dimension, is_integer=int in types and float not in types)
    return resolved


def _options(setting_name: str, choice: Any) -> tuple[Option, ...]:
    if choice is None:
        return ()
    registry = load_registry(_listing(setting_name))
    return options_of(registry[Choice.of(choice, setting_name).name], supplied_parameters=STEP_COUNT_PARAMETERS)


def _listing(setting_name: str) -> str:
    plural = f"{setting_name}s"
    return plural if plural in REGISTRIES else setting_name

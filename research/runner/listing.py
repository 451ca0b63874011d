"""Describe registered heads, hooks and so on: all entries of a registry for --list, the chosen entries for --help."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from heads.registry import Registry
from research.settings.options import describe_entry, options_of
from research.settings.plugins import import_plugins
from research.settings.program import HelpRequest
from research.settings.registries import STEP_COUNT_PARAMETERS, load_registry


def describe_listing(listing: str, plugins: Sequence[str]) -> str:
    """Describe the entries of a registry, including those that plugins register.

    Args:
        listing: the registry, as a value of --list.
        plugins: values of --plugin.
    """
    import_plugins(plugins)
    registry = load_registry(listing)
    return "\n".join(f"{name}\n{_describe(registry, name)}" for name in registry)


def print_help(request: HelpRequest) -> int:
    """Print the help of all settings and the options of chosen entries, and return the exit status."""
    request.program.parser.print_help()
    if request.chosen:
        print(describe_choices(request.chosen, request.plugins))
    return 0


def describe_choices(chosen: Sequence[tuple[str, str]], plugins: Sequence[str]) -> str:
    """Describe the options of chosen entries.

    Args:
        chosen: kind (head, objective, schedule, hook) and name of each entry.
        plugins: values of --plugin.
    """
    import_plugins(plugins)
    parts = []
    for kind, name in chosen:
        prefix = f"--hook.{name}" if kind == "hook" else f"--{kind}"
        registry = load_registry(f"{kind}s")
        parts.append(f"{kind} {name}, options as {prefix}.<option>:\n{_describe(registry, name)}")
    return "\n".join(parts)


def _describe(registry: Registry[Any], name: str) -> str:
    if registry.kind == "edit":
        from research.edits.base import arguments_of

        return describe_entry(registry[name], arguments_of(name))
    supplied_parameters = STEP_COUNT_PARAMETERS if registry.kind == "schedule" else ()
    return describe_entry(registry[name], options_of(registry[name], supplied_parameters=supplied_parameters))

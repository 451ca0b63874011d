"""The syntax of selectors. research/model/selectors.py finds the parameters of a model that a selector matches."""

from __future__ import annotations

import difflib
import re

from heads.registry import UnknownNameError

Selector = list[str] | str
Targets = list[str] | str
"""Layers that get adapters, within the selected modules: `linear`, `attention`, or names (a list, or separated by
commas). Names may be globs."""
FORMS = (
    "all",
    "encoder",
    "head",
    "encoder.embeddings",
    "encoder.layer",
    "encoder.layer[-2:]",
    "encoder.rest",
    "adapters",
    "name:<glob>",
)
LAYERS = "encoder.layer"
"""Start of all selectors of layers."""
_NAMES = ("all", "encoder", "head", "encoder.embeddings", "encoder.rest", "adapters")


class SelectorError(UnknownNameError):
    """A selector is invalid or matches nothing."""


def as_list(selector: Selector) -> list[str]:
    """Return one or several selectors as a list."""
    return [selector] if isinstance(selector, str) else list(selector)


def check_syntax(selector: Selector) -> None:
    """Check the syntax of selectors.

    Raises:
        SelectorError: if the list is empty or a selector is invalid.
    """
    if not as_list(selector):
        raise SelectorError(
            f"Expected a selector or a list of selectors, got an empty list. Selectors: {', '.join(FORMS)}."
        )
    for each in as_list(selector):
        if each.startswith(LAYERS):
            read_layers(each)
        elif each not in _NAMES and not each.startswith("name:"):
            raise SelectorError(f"Unknown selector '{each}'. {suggest(each)}Selectors: {', '.join(FORMS)}.")


def read_layers(selector: str) -> int | slice:
    """Return the layer number or the slice in a selector of layers.

    Raises:
        SelectorError: if the selector is invalid.
    """
    number, suffix = r"-?\d+", selector.removeprefix(LAYERS).replace(" ", "")
    if suffix == "":
        return slice(None)
    if match := re.fullmatch(rf"\[({number})\]", suffix):
        return int(match[1])
    if match := re.fullmatch(rf"\[({number})?:({number})?\]", suffix):
        return slice(*(None if bound is None else int(bound) for bound in match.groups()))
    raise SelectorError(f"Expected a selector such as encoder.layer[-2:] or encoder.layer[0], got '{selector}'.")


def suggest(selector: str, known: list[str] | None = None) -> str:
    """Return a suggestion for an unknown selector, followed by a space; empty if no known selector is similar.

    Args:
        selector: the unknown selector.
        known: known selectors; by default the forms of selectors.
    """
    nearest = difflib.get_close_matches(selector, known or FORMS, n=1, cutoff=0.5)
    return f"Did you mean '{nearest[0]}'? " if nearest else ""

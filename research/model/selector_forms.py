"""How a selector is written; which parameters it stands for depends on the model (research/model/selectors.py)."""

from __future__ import annotations

import difflib
import re

from heads.registry import UnknownNameError

Selector = list[str] | str
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
_NAMES = ("all", "encoder", "head", "encoder.embeddings", "encoder.rest", "adapters")


class SelectorError(UnknownNameError):
    """A selector that cannot be read, or matches nothing."""


def as_list(selector: Selector) -> list[str]:
    """Return the selectors of a list, or the only one."""
    return [selector] if isinstance(selector, str) else list(selector)


def check_forms(selector: Selector) -> None:
    """Refuse what is no selector of any model.

    Raises:
        SelectorError: if the list is empty, or one of the selectors cannot be read.
    """
    if not as_list(selector):
        raise SelectorError(f"Expected a selector or a list of them, got an empty list. There are: {', '.join(FORMS)}.")
    for each in as_list(selector):
        if each.startswith(LAYERS):
            read_layers(each)
        elif each not in _NAMES and not each.startswith("name:"):
            raise SelectorError(f"Unknown selector '{each}'. {suggest(each)}There are: {', '.join(FORMS)}.")


def read_layers(selector: str) -> int | slice:
    """Return the number or the slice of a selector of layers.

    Raises:
        SelectorError: if it has neither.
    """
    number, part = r"-?\d+", selector.removeprefix(LAYERS).replace(" ", "")
    if part == "":
        return slice(None)
    if found := re.fullmatch(rf"\[({number})\]", part):
        return int(found[1])
    if found := re.fullmatch(rf"\[({number})?:({number})?\]", part):
        return slice(*(None if bound is None else int(bound) for bound in found.groups()))
    raise SelectorError(f"Cannot read the selector '{selector}': write encoder.layer[-2:] or encoder.layer[0].")


def suggest(selector: str, known: list[str] | None = None) -> str:
    """Return a hint at what a selector may have meant, with a space after it; nothing if nothing is near.

    Args:
        selector: as it was written.
        known: what it may have meant; by default the forms of selectors.
    """
    nearest = difflib.get_close_matches(selector, known or FORMS, n=1, cutoff=0.5)
    return f"Did you mean '{nearest[0]}'? " if nearest else ""

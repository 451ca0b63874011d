"""Named steps that clean a text before anything else sees it."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Sequence

from heads.registry import Registry
from research.system.user_code import CodeOf, hash_user_code

CleaningStep = Callable[[str], str]

CLEANING: Registry[CleaningStep] = Registry("cleaning step")
register_cleaning = CLEANING.register

_LINE_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
# A tag starts with a letter, so that "a < b and c > d" stays.
_TAG = re.compile(r"<!--.*?-->|</?[a-zA-Z][^<>]*>", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


@register_cleaning("strip_html")
def strip_html(text: str) -> str:
    """Turn `<br>` into a line break, remove tags and comments, unescape entities."""
    return html.unescape(_TAG.sub("", _LINE_BREAK.sub("\n", text)))


@register_cleaning("unicode_nfc")
def unicode_nfc(text: str) -> str:
    """Compose characters (Unicode normal form C)."""
    return unicodedata.normalize("NFC", text)


@register_cleaning("strip_control")
def strip_control(text: str) -> str:
    """Remove control characters, tabs and line breaks excepted."""
    return _CONTROL.sub("", text)


@register_cleaning("collapse_whitespace")
def collapse_whitespace(text: str) -> str:
    """Replace every run of whitespace by one space, and remove it at both ends."""
    return " ".join(text.split())


@register_cleaning("lowercase")
def lowercase(text: str) -> str:
    """Lower-case the text."""
    return text.lower()


def compose(names: Sequence[str]) -> CleaningStep:
    """Return one function that applies the named steps in order.

    Raises:
        UnknownNameError: if no step has one of the names.
    """
    steps = [(name, CLEANING[name], CodeOf(f"cleaning step '{name}'", CLEANING[name])) for name in names]

    def clean(text: str) -> str:
        for name, step, code in steps:
            with code:
                text = step(text)
            if not isinstance(text, str):
                raise ValueError(f"The cleaning step '{name}' must return a str; got {type(text).__name__}.")
        return text

    return clean


def fingerprint_steps(names: Sequence[str]) -> list[str]:
    """Return the steps' names, those of a user's own steps with a hash that changes with the file of their code."""
    return [name if (code := hash_user_code(CLEANING[name])) is None else f"{name}:{code}" for name in names]

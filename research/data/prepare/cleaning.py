"""Cleaning steps, which are applied to each text when it is read."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Sequence

from heads.registry import Registry
from research.system.user_code import ErrorsAttributedTo, hash_user_code

CleaningStep = Callable[[str], str]

CLEANING: Registry[CleaningStep] = Registry("cleaning step")
register_cleaning = CLEANING.register

_LINE_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
# A tag must start with a letter, so that "a < b and c > d" is kept.
_TAG = re.compile(r"<!--.*?-->|</?[a-zA-Z][^<>]*>", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


@register_cleaning("strip_html")
def strip_html(text: str) -> str:
    """Replace `<br>` with a line break, remove tags and comments, and unescape entities."""
    return html.unescape(_TAG.sub("", _LINE_BREAK.sub("\n", text)))


@register_cleaning("unicode_nfc")
def unicode_nfc(text: str) -> str:
    """Compose characters (Unicode normal form C)."""
    return unicodedata.normalize("NFC", text)


@register_cleaning("strip_control")
def strip_control(text: str) -> str:
    """Remove control characters except tabs and line breaks."""
    return _CONTROL.sub("", text)


@register_cleaning("collapse_whitespace")
def collapse_whitespace(text: str) -> str:
    """Replace every run of whitespace with one space, and remove whitespace at both ends."""
    return " ".join(text.split())


@register_cleaning("lowercase")
def lowercase(text: str) -> str:
    """Convert the text to lower case."""
    return text.lower()


def compose(names: Sequence[str]) -> CleaningStep:
    """Return a function that applies the named steps in order.

    Raises:
        UnknownNameError: if a name is not registered.
    """
    steps = [(name, CLEANING[name], ErrorsAttributedTo(f"cleaning step '{name}'", CLEANING[name])) for name in names]

    def clean(text: str) -> str:
        for name, step, error_context in steps:
            with error_context:
                text = step(text)
            if not isinstance(text, str):
                raise ValueError(f"The cleaning step '{name}' must return a str; got {type(text).__name__}.")
        return text

    return clean


def fingerprint_steps(names: Sequence[str]) -> list[str]:
    """Return the name of each step, followed by a hash of its code if the user defined the step."""
    hashes = [hash_user_code(CLEANING[name]) for name in names]
    return [name if code_hash is None else f"{name}:{code_hash}" for name, code_hash in zip(names, hashes, strict=True)]

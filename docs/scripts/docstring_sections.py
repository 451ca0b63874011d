"""Griffe extension: inserts an empty line before each section of a docstring, which Griffe's parser expects."""

from __future__ import annotations

import re
from typing import Any

import griffe


class SeparateSections(griffe.Extension):
    """Separates the sections of every docstring by empty lines."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = separate_sections(obj.docstring.value)


def separate_sections(docstring: str) -> str:
    """Return a docstring with an empty line before each section."""
    return re.sub(r"(?<=\S)\n(Args|Returns|Yields|Raises):\n", r"\n\n\1:\n", docstring)

"""How text files are read, as far as settings say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from research.data.sources.bad_rows import OTHER_ENCODING

Quoting = Literal["auto", "csv", "none"]


@dataclass(frozen=True)
class TextFormat:
    """How text files are read."""

    encoding: str | None = None
    """Their encoding; None is UTF-8, or UTF-16 with a byte order mark."""
    quoting: Quoting = "auto"
    """Whether quotes in csv and tsv files enclose fields, or are ordinary characters."""
    columns: tuple[str, ...] = ()
    """Names of the columns of csv and tsv files without a header."""

    @property
    def undecoded(self) -> str:
        """What is wrong with a row that has bytes which are not of the encoding."""
        return OTHER_ENCODING if self.encoding is None else f"bytes that are not {self.encoding}"

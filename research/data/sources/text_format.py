"""Settings for reading text files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from research.data.sources.bad_rows import INVALID_UTF8_ADVICE

Quoting = Literal["auto", "csv", "none"]


@dataclass(frozen=True)
class TextFormat:
    """Settings for reading text files."""

    encoding: str | None = None
    """Character encoding. None means UTF-8, or UTF-16 if the file starts with a UTF-16 byte order mark."""
    quoting: Quoting = "auto"
    """How csv and tsv files use quotes: to enclose fields (csv), or as ordinary characters (none). With auto, csv files
    are read as with csv; for tsv files, the content of the file decides."""
    columns: tuple[str, ...] = ()
    """Column names of csv and tsv files without a header."""

    @property
    def undecoded_reason(self) -> str:
        """Reason to report for a bad row with bytes that cannot be decoded."""
        return INVALID_UTF8_ADVICE if self.encoding is None else f"bytes that are not valid {self.encoding}"

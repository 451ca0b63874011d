"""Rows that cannot be used: counted, the first of them named, refused or left out together."""

from __future__ import annotations

import bisect
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from research.system.plain_text import for_message

NUM_NAMED = 5


NUM_REASONS = 20
"""Reasons kept apart per file; rows with further ones are counted together."""
_LONGEST_REASON = 300
OTHER_REASONS = "other reasons"
INVALID_UTF8 = "invalid UTF-8"
OTHER_ENCODING = f"{INVALID_UTF8}; if the file has another encoding, name it (--encoding cp1252)"


@dataclass(frozen=True)
class SkippedRows:
    """Rows of a split that were left out for one reason."""

    split: str
    """The split as it was given: train, validation or test."""
    reason: str
    """What is wrong with the rows."""
    rows: int
    """How many there are."""


class BadRowsError(ValueError):
    """Rows of the data cannot be used."""


class BadRows:
    """Collects the rows of one data set that cannot be used.

    Args:
        policy: `error` refuses the data set when all of it has been read, `skip` leaves these rows out.
        setting: name of the setting that decides.
    """

    def __init__(self, policy: Literal["error", "skip"], setting: str = "bad_rows") -> None:
        if policy not in ("error", "skip"):
            raise ValueError(f"{setting} must be 'error' or 'skip'; got '{policy}'.")
        self.policy = policy
        self.setting = setting
        self.count = 0
        self.reasons: dict[int, Counter[str]] = {}
        """Rows per reason, by table."""
        self._first: list[tuple[int, int, str]] = []

    def add(self, table: int, row: int, place: str, reason: str) -> None:
        """Count one row.

        Args:
            table: position of its file in the reading order.
            row: its 1-based number in the file.
            place: file and row in words.
            reason: what is wrong with it.
        """
        reason = for_message(reason, longest=_LONGEST_REASON)
        self.count += 1
        reasons = self.reasons.setdefault(table, Counter())
        reasons[reason if reason in reasons or len(reasons) < NUM_REASONS else OTHER_REASONS] += 1
        bisect.insort(self._first, (table, row, f"{place}: {reason}"))
        del self._first[NUM_NAMED:]

    def close(self, num_rows: int) -> str | None:
        """Say what was left out, or refuse; `num_rows` counts all rows, the bad ones included.

        Raises:
            BadRowsError: if there are bad rows and they are not to be skipped.
        """
        if not self.count:
            return None
        first = "; ".join(description for _, _, description in self._first)
        more = f"; and {self.count - len(self._first):,} more" if self.count > len(self._first) else ""
        rows = "row" if self.count == 1 else "rows"
        if self.policy == "skip":
            return f"Left out {self.count:,} bad {rows} of {num_rows:,}: {first}{more}."
        summary = f"{self.count:,} bad {rows} of {num_rows:,}: {first}{more}."
        if any(OTHER_ENCODING in reasons for reasons in self.reasons.values()):
            raise BadRowsError(summary)  # leaving these out would remove exactly the rows with accents
        raise BadRowsError(f"{summary} Correct them, or leave them out: {self.setting}=skip.")

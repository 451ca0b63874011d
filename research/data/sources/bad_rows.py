"""Collect bad rows: count them, describe the first ones, and skip them or raise an error."""

from __future__ import annotations

import bisect
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from research.system.plain_text import for_message

MAX_DESCRIBED = 5
"""Maximum number of bad rows that a message describes individually."""
MAX_REASONS = 20
"""Maximum number of reasons that are counted separately for each file. All further reasons are counted together."""
_MAX_REASON_LENGTH = 300
"""Maximum length of a reason in characters."""
OTHER_REASONS = "other reasons"
"""Reason that stands for all further reasons."""
INVALID_UTF8 = "invalid UTF-8"
INVALID_UTF8_ADVICE = f"{INVALID_UTF8}; if the file has a different encoding, set it (for example, --encoding cp1252)"


@dataclass(frozen=True)
class SkippedRows:
    """Rows of a split that were skipped for one reason. The field names are keys in result.json."""

    split: str
    """The split that the rows were read from: train, validation or test."""
    reason: str
    """What is wrong with the rows."""
    rows: int
    """Number of rows."""


class BadRowsError(ValueError):
    """Raised if the data has bad rows that must not be skipped."""


class BadRows:
    """Collects the bad rows of one data set.

    Args:
        policy: `error` raises an error after all rows have been read; `skip` skips the bad rows.
        setting: name of the setting that selects the policy.
    """

    def __init__(self, policy: Literal["error", "skip"], setting: str = "bad_rows") -> None:
        if policy not in ("error", "skip"):
            raise ValueError(f"{setting} must be 'error' or 'skip'; got '{policy}'.")
        self.policy = policy
        self.setting = setting
        self.count = 0
        self.reasons: dict[int, Counter[str]] = {}
        """Number of bad rows per reason, by the number of the file."""
        self._first: list[tuple[int, int, str]] = []
        """Number of the file, number of the row in it, and description, for each of the first bad rows."""

    def add(self, table: int, row: int, place: str, reason: str) -> None:
        """Count one bad row.

        Args:
            table: number of the row's file (each file is one table), in the order in which files are read.
            row: number of the row in its file, from 1.
            place: file and row, as a string for messages.
            reason: what is wrong with the row.
        """
        reason = for_message(reason, longest=_MAX_REASON_LENGTH)
        self.count += 1
        reasons = self.reasons.setdefault(table, Counter())
        reasons[reason if reason in reasons or len(reasons) < MAX_REASONS else OTHER_REASONS] += 1
        bisect.insort(self._first, (table, row, f"{place}: {reason}"))
        del self._first[MAX_DESCRIBED:]

    def raise_or_summarize(self, num_rows: int) -> str | None:
        """Raise an error about the bad rows or, if they are skipped, return a message; None if there are none.

        Args:
            num_rows: number of all rows that were read, including the bad ones.
        Raises:
            BadRowsError: if there are bad rows and the policy is `error`.
        """
        if not self.count:
            return None
        described = "; ".join(description for _, _, description in self._first)
        more = f"; and {self.count - len(self._first):,} more" if self.count > len(self._first) else ""
        rows = "row" if self.count == 1 else "rows"
        if self.policy == "skip":
            return f"Skipped {self.count:,} bad {rows} of {num_rows:,}: {described}{more}."
        summary = f"{self.count:,} bad {rows} of {num_rows:,}: {described}{more}."
        if any(INVALID_UTF8_ADVICE in reasons for reasons in self.reasons.values()):
            raise BadRowsError(summary)  # do not suggest skipping: that would remove exactly the rows with accents
        raise BadRowsError(f"{summary} Correct them, or skip them with --{self.setting} skip.")

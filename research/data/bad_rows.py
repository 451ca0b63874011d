"""Rows that cannot be used: counted, the first of them named, refused or left out together."""

from __future__ import annotations

import bisect
from typing import Literal

NUM_NAMED = 5


class BadRowsError(ValueError):
    """Rows of the data cannot be used."""


class BadRows:
    """Collects the rows of one data set that cannot be used.

    Args:
        policy: `error` refuses the data set when all of it has been read, `skip` leaves these rows out.
    """

    def __init__(self, policy: Literal["error", "skip"]) -> None:
        if policy not in ("error", "skip"):
            raise ValueError(f"bad_rows must be 'error' or 'skip'; got '{policy}'.")
        self.policy = policy
        self.count = 0
        self._first: list[tuple[int, int, str]] = []

    def add(self, table: int, row: int, place: str, reason: str) -> None:
        """Count one row.

        Args:
            table: position of its file in the reading order.
            row: its 1-based number in the file.
            place: file and row in words.
            reason: what is wrong with it.
        """
        self.count += 1
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
        raise BadRowsError(
            f"{self.count:,} bad {rows} of {num_rows:,}: {first}{more}. Mend them, or leave them out: bad_rows=skip."
        )

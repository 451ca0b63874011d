"""Progress display of a search: its budget, the best trials so far, and the running trials."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group
from rich.table import Table

from research.studies.progress import StudyProgress, format_duration
from research.studies.search.spec import SearchSpec
from research.studies.storage.trials import StorageEntry
from research.system.plain_text import for_terminal
from research.system.terminal import Terminal

NUM_BEST_SHOWN = 5
"""Number of the best trials that are shown."""


class SearchProgress(StudyProgress):
    """Progress of a search: a live table on a terminal, otherwise a line whenever a trial starts or ends.

    Args:
        console: where to print.
        directory: directory of the study.
        search: the search, with its budget.
        higher_is_better: whether higher values of the metric are better.
    """

    def __init__(self, console: Terminal, directory: Path, search: SearchSpec, *, higher_is_better: bool) -> None:
        super().__init__((), console, directory)
        self._search = search
        self._higher_is_better = higher_is_better

    def show(self, entries: dict[str, StorageEntry]) -> None:
        """Show the current state of the trials."""
        self.follow([entry.trial for entry in entries.values()])
        super().show(entries)

    def _total(self) -> str:
        return "" if self._search.trials is None else f"/{self._search.trials}"

    def _table(self, entries: dict[str, StorageEntry], num_ended: int) -> Group:
        finished = [(entry.value, entry) for entry in entries.values() if entry.value is not None]
        finished.sort(key=lambda item: item[0], reverse=self._higher_is_better)
        table = Table("best trials")
        table.add_column("metric", justify="right")
        table.add_column("time", justify="right")
        for value, entry in finished[:NUM_BEST_SHOWN]:
            table.add_row(for_terminal(entry.trial.arm), f"{value:.4f}", format_duration(entry.attributes["seconds"]))
        return Group(table, *self._running_lines(entries), self._counts_line(entries, num_ended))

    def _counts_line(self, entries: dict[str, StorageEntry], num_ended: int) -> str:
        statuses = [entry.status for entry in entries.values()]
        counts = [
            f"{number} {status}" for status in ("finished", "pruned", "failed") if (number := statuses.count(status))
        ]
        return f"{num_ended} of {self._search.describe_budget()}: {', '.join(counts) or 'none finished'}"

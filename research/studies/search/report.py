"""The end of a search: its best trials on the terminal."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.table import Table

from research.studies.progress import format_count, format_duration
from research.studies.search.propose import Proposer
from research.studies.storage.study import Study
from research.studies.storage.trials import StorageEntry
from research.system.messages import KEEP_LINE_BREAKS, logger
from research.system.plain_text import for_terminal
from research.system.terminal import Terminal

NUM_BEST_SHOWN = 10
"""Number of the best trials that are printed."""


def report_search(console: Terminal, study: Study, proposer: Proposer, directory: Path) -> int:
    """Print the best trials and the failed ones, and return the exit status."""
    entries = list(study.entries().values())
    console.print(_best_table(best_first(entries, higher_is_better=study.higher_is_better)))
    statuses = [entry.status for entry in entries]
    counts = [f"{number} {status}" for status in ("finished", "pruned", "failed") if (number := statuses.count(status))]
    num_repeats = study.num_repeats()
    repeats = f" {format_count(num_repeats, 'more trial')} repeated earlier settings and were not run."
    logger.info(
        f"{format_count(len(entries), 'configuration')} tried in {format_duration(3600 * study.hours_used())}: "
        f"{', '.join(counts)}.{repeats if num_repeats else ''}"
    )
    failed = [entry for entry in entries if entry.status == "failed"]
    for entry in failed:
        logger.info(f"failed: {for_terminal(entry.trial.arm)}: {entry.attributes.get('error')}", extra=KEEP_LINE_BREAKS)
    return 1 if failed else 0


def best_first(entries: list[StorageEntry], *, higher_is_better: bool) -> list[StorageEntry]:
    """Return the finished trials with a defined metric, the best first; of equal ones, the earlier first."""
    finished = [(entry.value, entry) for entry in entries if entry.status == "finished" and entry.value is not None]
    return [entry for _, entry in sorted(finished, key=lambda item: item[0], reverse=higher_is_better)]


def _best_table(best: list[StorageEntry]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("trial", no_wrap=True)
    table.add_column("settings", overflow="fold")
    table.add_column("validation", justify="right")
    table.add_column("time", justify="right")
    for entry in best[:NUM_BEST_SHOWN]:
        seconds = format_duration(entry.attributes["seconds"])
        table.add_row(entry.trial.id, for_terminal(entry.trial.arm), f"{entry.value:.4f}", seconds)
    return table

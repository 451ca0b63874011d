"""Progress display of a study: finished, running, failed and waiting trials."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from research.settings.run_files import METRICS_LOG
from research.studies.grid import Trial
from research.studies.storage.trials import PRUNED_AT, StorageEntry
from research.studies.worker import TRIALS, events_path
from research.system.events import HIDDEN_STATES, WARNING, Event, last_event, read_events, read_tail
from research.system.plain_text import for_terminal
from research.system.terminal import Terminal

MAX_RUNNING_SHOWN = 8
"""Maximum number of running trials that are listed below the table."""


class EventTail:
    """Reads the events that other processes append to a file.

    Args:
        path: the file, which need not exist yet.
        skips_existing: whether to skip the events that it already contains.
    """

    def __init__(self, path: Path, *, skips_existing: bool = True) -> None:
        self._path = path
        self._position = path.stat().st_size if skips_existing and path.exists() else 0

    def new_events(self) -> list[Event]:
        """Return the events that were added since the previous call."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                content = file.read()
        except OSError:
            return []
        complete_lines = content[: content.rfind(b"\n") + 1]
        self._position += len(complete_lines)
        return read_events(complete_lines)


class StudyProgress:
    """Progress of a study: a live table on a terminal, otherwise a line whenever a trial starts or ends.

    Args:
        trials: all trials of the grid.
        console: where to print.
        directory: directory of the study.
    """

    def __init__(self, trials: Sequence[Trial], console: Terminal, directory: Path) -> None:
        self._trials: Sequence[Trial] = ()
        self._console = console
        self._live = (
            Live(console=console, refresh_per_second=2, redirect_stdout=False, redirect_stderr=False)
            if console.is_terminal
            else None
        )
        self._started = time.monotonic()
        self._reported_ends: set[str] = set()
        self._reported_starts: set[str] = set()
        self._num_ended_at_start: int | None = None
        self._shown_events: set[str] = set()
        self._directory = directory
        self._event_tails: dict[str, EventTail] = {}
        self.follow(trials)

    def __enter__(self) -> StudyProgress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def follow(self, trials: Sequence[Trial]) -> None:
        """Set the trials to show: all trials of the study that are known so far."""
        known = {trial.id for trial in self._trials}
        is_start = self._num_ended_at_start is None  # later, a new trial may have reported events already
        self._event_tails |= {
            trial.id: EventTail(events_path(self._directory, trial.id), skips_existing=is_start)
            for trial in trials
            if trial.id not in known
        }
        self._trials = trials

    def show(self, entries: dict[str, StorageEntry]) -> None:
        """Show the current state of the trials."""
        ended = [trial for trial in self._trials if _has_ended(entries.get(trial.id))]
        if self._num_ended_at_start is None:
            self._num_ended_at_start = len(ended)
            self._reported_ends = {trial.id for trial in ended}
        self._show_reported_events(entries)
        if self._live is not None:
            self._live.update(self._table(entries, len(ended)))
            return
        for trial in self._trials:
            entry = entries.get(trial.id)
            if entry is not None and entry.status == "running" and trial.id not in self._reported_starts:
                self._reported_starts.add(trial.id)
                self._console.print_line(f"started: {trial.arm}, seed {trial.unit}")
        for trial in ended:
            if trial.id not in self._reported_ends:
                self._reported_ends.add(trial.id)
                number = f"[{len(self._reported_ends)}{self._total()}]"
                line = f"{number} {for_terminal(trial.arm)}, seed {trial.unit}: {_describe_outcome(entries[trial.id])}"
                self._console.print_line(line, keep_lines=True)

    def _show_reported_events(self, entries: dict[str, StorageEntry]) -> None:
        """Show warnings of trials, and what they report about stored hidden states.

        A message that several trials report is shown once.
        """
        for trial in self._trials:
            event_tail = self._event_tails.get(trial.id)
            if event_tail is None:
                continue
            if _has_ended(entries.get(trial.id)):
                del self._event_tails[trial.id]  # its last events are read below
            for event in event_tail.new_events():
                if event.kind in (HIDDEN_STATES, WARNING) and event.text not in self._shown_events:
                    self._shown_events.add(event.text)
                    self._console.print_line(f"{trial.arm}, seed {trial.unit}: {event.text}")

    def _table(self, entries: dict[str, StorageEntry], num_ended: int) -> Group:
        table = Table("arm")
        for name in ("finished", "running", "failed", "waiting", "mean"):
            table.add_column(name, justify="right")
        for arm in dict.fromkeys(trial.arm for trial in self._trials):
            arm_entries = [entries.get(trial.id) for trial in self._trials if trial.arm == arm]
            table.add_row(arm, *_status_cells(arm_entries))
        return Group(table, *self._running_lines(entries), self._times_line(num_ended))

    def _total(self) -> str:
        """Return the part of "[3/40]" after the number of ended trials."""
        return f"/{len(self._trials)}"

    def _running_lines(self, entries: dict[str, StorageEntry]) -> list[Text]:
        running = [
            self._running_line(trial, entry)
            for trial in self._trials
            if (entry := entries.get(trial.id)) is not None and entry.status == "running"
        ]
        more = len(running) - MAX_RUNNING_SHOWN
        lines = [*running[:MAX_RUNNING_SHOWN], *([f"  and {more} more"] if more > 0 else [])]
        return [Text(for_terminal(line), no_wrap=True, overflow="ellipsis") for line in lines]

    def _running_line(self, trial: Trial, entry: StorageEntry) -> str:
        """Return a line with the latest step of a run or, as long as there is none, with its latest event."""
        step = _latest_step(self._directory / TRIALS / trial.id)
        event = last_event(events_path(self._directory, trial.id))
        activity = f"step {step:,}" if step is not None else "starting" if event is None else event.text
        return f"  {trial.arm}, seed {trial.unit} ({entry.attributes.get('worker', 'a worker')}): {activity}"

    def _times_line(self, num_ended: int) -> str:
        elapsed = time.monotonic() - self._started
        line = f"{num_ended} of {len(self._trials)} trials, {format_duration(elapsed)}"
        num_new = num_ended - (self._num_ended_at_start or 0)
        if num_new and num_ended < len(self._trials):
            line += f", about {format_duration(elapsed / num_new * (len(self._trials) - num_ended))} left"
        return line


def format_duration(seconds: float) -> str:
    """Format a time in hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def format_count(number: int, noun: str) -> str:
    """Format a number of things, such as "1 trial" or "2 trials"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _has_ended(entry: StorageEntry | None) -> bool:
    return entry is not None and not entry.is_unfinished


def _describe_outcome(entry: StorageEntry) -> str:
    seconds = entry.attributes.get("seconds", 0.0)  # unknown if the process of a pruned trial was killed
    if entry.status == "failed":
        return f"failed: {entry.attributes.get('error', 'unknown reason')}"
    if entry.status == "pruned":
        error = f" ({entry.attributes['error']})" if "error" in entry.attributes else ""
        return f"pruned after {entry.attributes[PRUNED_AT]}%, {format_duration(seconds)}{error}"
    if entry.trial.is_parent:
        return f"paused, {format_duration(seconds)}"
    value = "metric not defined" if entry.value is None else f"{entry.value:.4f}"
    return f"{value}, {format_duration(seconds)}"


def _status_cells(entries: Sequence[StorageEntry | None]) -> list[str]:
    """Return the cells of an arm: finished, running, failed and waiting trials, and the mean of the metric."""
    statuses = ["waiting" if entry is None else entry.status for entry in entries]
    values = [entry.value for entry in entries if entry is not None and entry.value is not None]
    mean = f"{statistics.fmean(values):.4f}" if values else ""
    counts = [str(statuses.count(status) or "") for status in ("running", "failed", "waiting")]
    return [str(statuses.count("finished")), *counts, mean]


def _latest_step(directory: Path) -> int | None:
    """Return the last step that a run has logged, or None if it has logged none or runs on another machine."""
    try:
        return int(json.loads(read_tail(directory / METRICS_LOG).splitlines()[-1])["step"])
    except (ValueError, LookupError):
        return None

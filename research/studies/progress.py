"""The live table of a study: what runs, what is done, what is left."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from optuna.trial import TrialState
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from research.settings.run_files import METRICS_LOG
from research.studies.grid import Trial
from research.studies.storage.trials import DONE, OPEN, Entry
from research.studies.worker import TRIALS, events_of
from research.system.events import HIDDEN_STATES, Event, last_event, read_events, read_tail
from research.system.plain_text import for_terminal
from research.system.terminal import Terminal

NUM_RUNNING_SHOWN = 8


class Tail:
    """The events that are added to a file which others write.

    Args:
        path: the file; it need not be there yet, or at all. What it has already is left out.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = path.stat().st_size if path.exists() else 0

    def new_events(self) -> list[Event]:
        """Return the events that were added since the last time."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                content = file.read()
        except OSError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._position += len(whole)
        return read_events(whole)


class StudyProgress:
    """Shows a study on a terminal as a table that changes; elsewhere each trial's begin and end are lines.

    Args:
        trials: all of the grid.
        console: where.
        directory: where the study lies.
    """

    def __init__(self, trials: Sequence[Trial], console: Terminal, directory: Path) -> None:
        self._trials = trials
        self._console = console
        self._live = Live(console=console, refresh_per_second=2) if console.is_terminal else None
        self._started = time.monotonic()
        self._said: set[str] = set()
        self._begun: set[str] = set()
        self._done_at_start: int | None = None
        self._news: set[str] = set()
        self._directory = directory
        self._events = {trial.id: Tail(events_of(directory, trial.id)) for trial in trials}

    def __enter__(self) -> StudyProgress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, entries: dict[str, Entry]) -> None:
        """Show where the trials are."""
        ended = [trial for trial in self._trials if _is_over(entries.get(trial.id))]
        if self._done_at_start is None:
            self._done_at_start = len(ended)
            self._said = {trial.id for trial in ended}
        self._show_news(entries)
        if self._live is not None:
            self._live.update(self._table(entries, len(ended)))
            return
        for trial in self._trials:
            entry = entries.get(trial.id)
            if entry is not None and entry.state == TrialState.RUNNING and trial.id not in self._begun:
                self._begun.add(trial.id)
                self._console.print_line(f"begun: {trial.arm}, seed {trial.seed}")
        for trial in ended:
            if trial.id not in self._said:
                self._said.add(trial.id)
                number = f"[{len(self._said)}/{len(self._trials)}]"
                outcome = (
                    f"{number} {for_terminal(trial.arm)}, seed {trial.seed}: {_describe_outcome(entries[trial.id])}"
                )
                self._console.print_line(outcome, keep_lines=True)

    def _show_news(self, entries: dict[str, Entry]) -> None:
        """Show what trials say of hidden states that are stored, or are not: each such line of any trial once."""
        for trial in self._trials:
            events = self._events.get(trial.id)
            if events is None:
                continue
            if _is_over(entries.get(trial.id)):
                del self._events[trial.id]  # after this last look
            for event in events.new_events():
                if event.kind == HIDDEN_STATES and event.text not in self._news:
                    self._news.add(event.text)
                    self._console.print_line(f"{trial.arm}, seed {trial.seed}: {event.text}")

    def _table(self, entries: dict[str, Entry], num_over: int) -> Group:
        table = Table("arm")
        for word in ("done", "running", "failed", "left", "mean"):
            table.add_column(word, justify="right")
        for arm in dict.fromkeys(trial.arm for trial in self._trials):
            mine = [entries.get(trial.id) for trial in self._trials if trial.arm == arm]
            table.add_row(arm, *_counts(mine))
        running = [
            self._running_line(trial, entry)
            for trial in self._trials
            if (entry := entries.get(trial.id)) is not None and entry.state == TrialState.RUNNING
        ]
        more = len(running) - NUM_RUNNING_SHOWN
        lines = [*running[:NUM_RUNNING_SHOWN], *([f"  and {more} more"] if more > 0 else [])]
        below = [Text(for_terminal(line), no_wrap=True, overflow="ellipsis") for line in lines]
        return Group(table, *below, self._times(num_over))

    def _running_line(self, trial: Trial, entry: Entry) -> str:
        """Return the step that a run is at; before its first one, what it said last."""
        step = _latest_step(self._directory / TRIALS / trial.id)
        said = last_event(events_of(self._directory, trial.id))
        doing = f"step {step:,}" if step is not None else "starting" if said is None else said.text
        return f"  {trial.arm}, seed {trial.seed} ({entry.attributes.get('worker', 'a worker')}): {doing}"

    def _times(self, num_over: int) -> str:
        elapsed = time.monotonic() - self._started
        words = f"{num_over} of {len(self._trials)} trials, {duration(elapsed)}"
        num_here = num_over - (self._done_at_start or 0)
        if num_here and num_over < len(self._trials):
            words += f", about {duration(elapsed / num_here * (len(self._trials) - num_over))} left"
        return words


def duration(seconds: float) -> str:
    """Return a time as a person says it."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _is_over(entry: Entry | None) -> bool:
    return entry is not None and entry.state not in OPEN


def _describe_outcome(entry: Entry) -> str:
    if entry.state == TrialState.FAIL:
        return f"failed: {entry.attributes.get('error', 'no reason is known')}"
    value = "metric not defined" if entry.value is None else f"{entry.value:.4f}"
    return f"{value}, {duration(entry.attributes['seconds'])}"


def _counts(entries: Sequence[Entry | None]) -> list[str]:
    states = [TrialState.WAITING if entry is None else entry.state for entry in entries]
    done = sum(state in DONE for state in states)
    values = [entry.value for entry in entries if entry is not None and entry.value is not None]
    mean = f"{statistics.fmean(values):.4f}" if values else ""
    running, failed, left = (states.count(state) for state in (TrialState.RUNNING, TrialState.FAIL, TrialState.WAITING))
    return [str(done), str(running or ""), str(failed or ""), str(left or ""), mean]


def _latest_step(directory: Path) -> int | None:
    """Return the last step that a run has logged; None where it has none, or runs on another machine."""
    try:
        return int(json.loads(read_tail(directory / METRICS_LOG).splitlines()[-1])["step"])
    except (ValueError, LookupError):
        return None

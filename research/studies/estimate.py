"""About how long trials will take: of arms that have finished trials, their time; of others, a few steps, measured."""

from __future__ import annotations

import dataclasses
import io
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from research.data.prepare.load import load_splits
from research.runner.experiment import run_experiment
from research.settings.config import RunConfig
from research.settings.smoke import smoke_settings
from research.settings.times import Clock, parse_time
from research.studies.grid import Trial
from research.studies.launcher import read_launcher
from research.studies.progress import duration
from research.studies.storage.trials import DONE, Entry
from research.studies.worker import settings_of_hidden_states, trains_head_only
from research.system.messages import muted
from research.training.accelerator import default_num_threads
from research.training.api import Run
from research.training.hook import Hook

NUM_STEPS = 4
STARTING_SECONDS = 8.0
"""For a process of its own: what imports took on the machine that this was written on."""
DRAWING_SECONDS = 1.0
"""For a report: what drawing one took there. Drawing one for every arm would take longer than the steps measured."""


@dataclass(frozen=True)
class Estimate:
    """How long missing trials will take."""

    seconds: float
    """All of them, on as many workers as there are."""
    lines: list[str]
    """What it is made of."""


class Stopwatch(Hook):
    """Measures a run's parts."""

    def __init__(self) -> None:
        self.step_seconds: list[float] = []
        self.row_seconds: list[float] = []
        self._started = 0.0

    def after_step(self, run: Run) -> None:
        assert run.last_step is not None
        self.step_seconds.append(run.last_step.seconds)

    def before_evaluate(self, run: Run, split: str) -> None:
        self._started = time.perf_counter()

    def after_evaluate(self, run: Run, split: str, metrics: dict[str, float]) -> None:
        self.row_seconds.append((time.perf_counter() - self._started) / len(getattr(run.splits, split)))


def estimate(
    missing: Sequence[Trial], entries: Mapping[str, Entry], num_workers: int, accelerate_config: str | None
) -> Estimate:
    """Return about how long trials will take.

    Args:
        missing: the trials.
        entries: what the study's storage knows.
        num_workers: trials at a time.
        accelerate_config: file for `accelerate launch`.
    """
    known: dict[str, list[float]] = {}
    for entry in entries.values():
        if entry.state in DONE and "seconds" in entry.attributes:
            known.setdefault(entry.trial.arm, []).append(entry.attributes["seconds"])
    total, lines = 0.0, []
    row_seconds: dict[str, float] = {}
    for arm in dict.fromkeys(trial.arm for trial in missing):
        mine = [trial for trial in missing if trial.arm == arm]
        if arm in known:
            each, source = statistics.median(known[arm]), "as its finished trials took"
        else:
            config, num_sharing = mine[0].config(), num_workers * read_launcher(accelerate_config).num_processes
            config = smoke_settings(config) if config.smoke else config
            shared = settings_of_hidden_states(config)
            if trains_head_only(config) and shared not in row_seconds:
                row_seconds[shared] = _encoding(config, num_sharing)
                encoding = row_seconds[shared] * sum(_num_rows(config).values())
                total += encoding
                lines.append(f"  encoding once: about {duration(encoding)}")
            each, source = _training(config, num_sharing)
        total += each * len(mine)
        lines.append(f"  {arm}: {len(mine)} x about {duration(each)} ({source})")
    return Estimate(total / min(num_workers, len(missing)), lines)


def _encoding(config: RunConfig, num_sharing: int) -> float:
    """Return the seconds in which one row is encoded, and store a few, so that they are there for what follows."""
    watch = _probe(config, num_sharing, cached=False)
    _probe(config, num_sharing, cached=True)
    return min(watch.row_seconds)  # the first forward passes prepare kernels


def _training(config: RunConfig, num_sharing: int) -> tuple[float, str]:
    """Return the seconds of one trial, encoding excepted, and what was measured."""
    num_rows = _num_rows(config)
    clock = Clock.of_run(
        num_examples=num_rows["train"],
        batch_size=config.batch_size,
        epochs=config.epochs,
        max_steps=config.max_steps,
    )
    heads_only = trains_head_only(config)
    started = time.perf_counter()
    watch = _probe(config, num_sharing, cached=heads_only)
    step, row = statistics.median(watch.step_seconds[1:] or watch.step_seconds), statistics.median(watch.row_seconds)
    num_probed = sum(min(config.batch_size, rows) for split, rows in num_rows.items() if split != "train")
    around = time.perf_counter() - started - sum(watch.step_seconds) - row * num_probed
    every = None if config.evaluate_every is None else parse_time(config.evaluate_every).to_period(clock)
    num_validations = 1 if every is None else max(1, clock.total_steps // every)
    evaluating = row * (num_validations * num_rows["validation"] + num_rows["test"])
    seconds = clock.total_steps * step + evaluating + max(0.0, around)
    seconds += (0.0 if heads_only else STARTING_SECONDS) + (DRAWING_SECONDS if config.report else 0.0)
    return seconds, f"{clock.total_steps:,} steps, from {len(watch.step_seconds)} that were measured"


def _num_rows(config: RunConfig) -> dict[str, int]:
    with muted():
        return {split: len(rows) for split, rows in load_splits(config).items()}


def _probe(config: RunConfig, num_sharing: int, *, cached: bool) -> Stopwatch:
    """Train a few steps on a few rows, in a directory that goes away."""
    watch = Stopwatch()
    num_rows = NUM_STEPS * config.batch_size
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        short = dataclasses.replace(
            config,
            output_dir=str(Path(folder) / "run"),
            limit_train=min(num_rows, config.limit_train or num_rows),
            limit_validation=config.batch_size,
            limit_test=config.batch_size,
            max_steps=NUM_STEPS,
            timeline=[],  # their times are those of the whole run
            evaluate_every=None,
            save_every=None,
            best_metric=None,
            patience=None,
            log_with=[],
            report=False,
            cache_features=cached,
            num_threads=config.num_threads or default_num_threads(num_sharing),
        )
        run_experiment(short, hooks=[watch])
    return watch

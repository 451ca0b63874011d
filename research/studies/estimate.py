"""Estimate how long trials will take.

For arms with finished trials, the estimate is the time of those trials. For all other arms, a few steps are measured.
"""

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

from research.data.prepare.load import Splits, load_splits
from research.runner.experiment import execute_run
from research.settings.config import RunConfig
from research.settings.smoke import reduce_for_smoke
from research.settings.times import Clock, parse_time
from research.studies.grid import Trial
from research.studies.launcher import read_launcher
from research.studies.progress import format_duration
from research.studies.storage.trials import StorageEntry
from research.studies.worker import hidden_states_settings, trains_head_only
from research.system.messages import messages_muted
from research.training.accelerator import default_num_threads
from research.training.api import Run
from research.training.hook import Hook

NUM_STEPS = 4
"""Number of steps that are measured for each arm."""
STARTING_SECONDS = 8.0
"""Time to start a separate process, mostly imports, as measured on a development machine."""
DRAWING_SECONDS = 1.0
"""Time to draw a report, as measured on a development machine. Measuring it for each arm would take longer than the
measured steps."""


@dataclass(frozen=True)
class Estimate:
    """Estimated time for the trials whose results are missing."""

    seconds: float
    """Time for all of these trials with the given number of workers, in seconds."""
    lines: list[str]
    """The parts of the estimate, one line each."""


class Stopwatch(Hook):
    """Measures the time of each step, and the time per row of each evaluation."""

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


def estimate_time(
    missing: Sequence[Trial],
    entries: Mapping[str, StorageEntry],
    num_workers: int,
    accelerate_config: str | None,
    fork_at: str | None = None,
) -> Estimate:
    """Estimate how long trials will take.

    Args:
        missing: the trials whose results are missing.
        entries: entries of the study's storage, by trial id.
        num_workers: number of trials that run at the same time.
        accelerate_config: config file of `accelerate launch`, or None.
        fork_at: time at which trials fork their common past, or None.
    """
    finished_seconds: dict[str, list[float]] = {}
    for entry in entries.values():
        if entry.status == "finished" and "seconds" in entry.attributes:
            finished_seconds.setdefault(entry.trial.arm, []).append(entry.attributes["seconds"])
    total, lines = 0.0, []
    row_seconds: dict[str, float] = {}  # by the settings that determine hidden states
    for arm in dict.fromkeys(trial.arm for trial in missing):
        arm_trials = [trial for trial in missing if trial.arm == arm]
        if arm in finished_seconds:
            trial_seconds, basis = statistics.median(finished_seconds[arm]), "median of its finished trials"
        else:
            config, num_processes = arm_trials[0].config(), num_workers * read_launcher(accelerate_config).num_processes
            config = reduce_for_smoke(config) if config.smoke else config
            encoder_settings = hidden_states_settings(config)
            if trains_head_only(config) and encoder_settings not in row_seconds:
                row_seconds[encoder_settings] = _measure_encoder(config, num_processes)
                encoder_seconds = row_seconds[encoder_settings] * sum(
                    len(rows) for _, rows in _load_quietly(config).items()
                )
                total += encoder_seconds
                lines.append(f"  running the encoder once: about {format_duration(encoder_seconds)}")
            skipped = fork_at if arm_trials[0].parent_id is not None else None
            trial_seconds, basis = _estimate_trial(config, num_processes, skipped)
        total += trial_seconds * len(arm_trials)
        lines.append(f"  {arm}: {len(arm_trials)} x about {format_duration(trial_seconds)} ({basis})")
    return Estimate(total / min(num_workers, len(missing)), lines)


def _measure_encoder(config: RunConfig, num_processes: int) -> float:
    """Return the time of the encoder per row, in seconds, and cache hidden states for `_estimate_trial`.

    Args:
        config: settings of a trial.
        num_processes: number of training processes that will share the CPU cores.
    """
    watch = _probe(config, num_processes, cache_features=False)
    _probe(config, num_processes, cache_features=True)  # caches the hidden states; its times are not needed
    return min(watch.row_seconds)  # the minimum, because the first forward passes also prepare kernels


def _estimate_trial(config: RunConfig, num_processes: int, fork_at: str | None) -> tuple[float, str]:
    """Return the time of one trial in seconds, and how it was estimated.

    If the trial trains only a head, its hidden states must already be cached, and computing them is not included.

    Args:
        config: settings of the trial.
        num_processes: number of training processes that will share the CPU cores.
        fork_at: time up to which another trial trains; None if the trial starts from the beginning.
    """
    splits = _load_quietly(config)
    num_rows = {split: len(rows) for split, rows in splits.items()}
    clock = Clock.of_run(
        num_examples=splits.num_train,
        batch_size=config.batch_size,
        epochs=config.epochs,
        max_steps=config.max_steps,
    )
    head_only = trains_head_only(config)
    started = time.perf_counter()
    watch = _probe(config, num_processes, cache_features=head_only)
    # The first step is slower, because it also prepares kernels.
    seconds_per_step = statistics.median(watch.step_seconds[1:] or watch.step_seconds)
    seconds_per_row = statistics.median(watch.row_seconds)
    num_evaluated_rows = sum(min(config.batch_size, rows) for split, rows in num_rows.items() if split != "train")
    # Time of the measurement outside its steps and evaluations, which a trial also needs.
    overhead = time.perf_counter() - started - sum(watch.step_seconds) - seconds_per_row * num_evaluated_rows
    first, last = (0 if each is None else parse_time(each).to_period(clock) for each in (fork_at, config.pause_at))
    num_steps = (last or clock.total_steps) - first
    period = None if config.evaluate_every is None else parse_time(config.evaluate_every).to_period(clock)
    num_validations = 1 if period is None else max(1, num_steps // period)
    num_test = num_rows["test"] if config.score_test and config.pause_at is None else 0
    evaluation_seconds = seconds_per_row * (num_validations * num_rows["validation"] + num_test)
    seconds = num_steps * seconds_per_step + evaluation_seconds + max(0.0, overhead)
    # Without a launcher, a trial that trains only a head runs in the worker's process, which has already started.
    seconds += (0.0 if head_only else STARTING_SECONDS) + (DRAWING_SECONDS if config.report else 0.0)
    return seconds, f"{num_steps:,} steps, extrapolated from {len(watch.step_seconds)}"


def _load_quietly(config: RunConfig) -> Splits:
    with messages_muted():
        return load_splits(config)


def _probe(config: RunConfig, num_processes: int, *, cache_features: bool) -> Stopwatch:
    """Train for a few steps on a few rows in a temporary directory, and return the measured times.

    Args:
        config: settings of a trial.
        num_processes: number of training processes that will share the CPU cores.
        cache_features: whether to read hidden states from the cache, after adding them if they are missing.
    """
    watch = Stopwatch()
    num_rows = NUM_STEPS * config.batch_size
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        short = dataclasses.replace(
            config,
            output_dir=str(Path(folder) / "run"),
            limit_train=None if config.streaming else min(num_rows, config.limit_train or num_rows),
            limit_validation=config.batch_size,
            limit_test=config.batch_size,
            max_steps=NUM_STEPS,
            timeline=[],  # its entries are timed for the whole run
            evaluate_every=None,
            save_every=None,
            best_metric=None,
            patience=None,
            pause_at=None,
            log_with=[],
            report=False,
            cache_features=cache_features,
            num_threads=config.num_threads or default_num_threads(num_processes),
        )
        execute_run(short, hooks=[watch])
    return watch

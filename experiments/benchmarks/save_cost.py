"""Measure the cost of checkpoints: how long training stands still for a save, and the time of a training step.

    python experiments/benchmarks/save_cost.py --saves 5
    accelerate launch --config_file accelerate_configs/cpu_2_processes.yaml experiments/benchmarks/save_cost.py

The script trains MiniLM on reviews cut to 512 tokens, 32 per step, and saves a checkpoint after every step except the
first: in one run while training waits, in another one in the background. A checkpoint has the weights, the optimizer,
other state, and the best model. A save that training waits for includes writing, syncing and hashing these files, and
renaming their directory. For a save in the background, training stands still while everything is copied, and if the
previous save has not ended yet. The script reports medians over all rounds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from research import Hook, RunConfig, run_experiment
from research.settings.run_files import BEST
from research.training.api import Run
from research.training.checkpoint.background import BackgroundSaver
from research.training.checkpoint.find import list_checkpoints
from research.training.checkpoint.save import save_checkpoint
from research.training.run import TrainingRun
from throughput import wait_for_device

MAX_LENGTH = 512
SAVE_INTERVAL = 100
"""Assumed number of steps between two saves, for computing the share of time that saving takes."""


class Stopwatch(Hook):
    """Save a checkpoint after every step except the first, and measure the times of saves and steps."""

    kept_files = (BEST,)  # so that checkpoints have the best model, as in a run with --best_metric

    def __init__(self, *, in_background: bool) -> None:
        self.in_background = in_background
        self.saver: BackgroundSaver | None = None
        self.step_seconds: list[float] = []
        self.save_seconds: list[float] = []
        self.num_bytes = 0
        self.is_main = True

    def on_train_start(self, run: Run) -> None:
        """Prepare to save in the background."""
        assert isinstance(run, TrainingRun)
        self.saver = BackgroundSaver(run) if self.in_background else None

    def end_of_step(self, run: Run) -> None:
        """Save a checkpoint; after the first step, save only the best model."""
        assert isinstance(run, TrainingRun)
        assert run.last_step is not None
        self.is_main = run.is_main
        if run.clock.step == 1:  # the first step warms up
            run.save_model(run.directory / BEST)
            run.accelerator.wait_for_everyone()
            return
        self.step_seconds.append(run.last_step.seconds)
        wait_for_device(run.accelerator.device.type)
        started = time.perf_counter()
        if self.saver is None:
            save_checkpoint(run, keep=2)
        else:
            self.saver.wait()
            self.saver.start(run, keep=2)
        self.save_seconds.append(time.perf_counter() - started)

    def on_train_end(self, run: Run) -> None:
        """Wait for the last checkpoint, and measure its size."""
        if self.saver is not None:
            self.saver.wait()
            self.saver.close()
        checkpoint = list_checkpoints(run.directory)[-1]
        self.num_bytes = sum(path.stat().st_size for path in checkpoint.rglob("*") if path.is_file())


def measure_saves(num_saves: int, folder: Path | None, *, in_background: bool = False, **settings: Any) -> Stopwatch:
    """Train, save after every step except the first, and return the times.

    Args:
        num_saves: number of saves.
        folder: parent of the temporary folder; None for the system's.
        in_background: whether training goes on during a save.
        **settings: settings of the run that differ from those below.
    """
    stopwatch = Stopwatch(in_background=in_background)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        defaults: dict[str, Any] = {
            "output_dir": str(Path(temporary) / "run"),
            "max_length": MAX_LENGTH,
            "max_steps": num_saves + 1,
            "limit_train": 32 * (num_saves + 1),
            "limit_validation": 32,
            "limit_test": 32,
            "evaluate_every": None,
            "log_with": [],
        }
        run_experiment(RunConfig(**{**defaults, **settings}), hooks=[stopwatch])
    return stopwatch


def main() -> None:
    """Measure, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--saves", type=int, default=5, help="number of saves (default: %(default)s)")
    parser.add_argument(
        "--folder", type=Path, default=None, help="parent of the temporary folder (default: the system's)"
    )
    parser.add_argument("--rounds", type=int, default=1, help="number of runs of each kind (default: %(default)s)")
    parser.add_argument("--shard", choices=["fsdp2"], help="split the parameters over the processes")
    parser.add_argument("--shard_checkpoints", action="store_true", help="write one file per process")
    options = parser.parse_args()
    settings = {"shard": options.shard, "shard_checkpoints": options.shard_checkpoints}
    stopwatches: dict[bool, list[Stopwatch]] = {False: [], True: []}
    for _ in range(options.rounds):
        for in_background, measured in stopwatches.items():
            measured.append(measure_saves(options.saves, options.folder, in_background=in_background, **settings))
    for in_background, measured in stopwatches.items():
        if measured[0].is_main:
            print(f"{'in the background' if in_background else 'training waits'}: {describe(measured)}")


def describe(stopwatches: Sequence[Stopwatch]) -> str:
    """Return the medians of several runs."""
    saves, steps = (
        [seconds * 1000 for stopwatch in stopwatches for seconds in getattr(stopwatch, name)]
        for name in ("save_seconds", "step_seconds")
    )
    save, step = statistics.median(saves), statistics.median(steps)
    share = save / (save + SAVE_INTERVAL * step)
    return (
        f"save {save:.0f} ms ({min(saves):.0f} - {max(saves):.0f}), {stopwatches[0].num_bytes / 1e6:.0f} MB; step "
        f"{step:.0f} ms; saving every {SAVE_INTERVAL} steps takes {share:.2%} of the time"
    )


if __name__ == "__main__":
    main()

"""Measure the cost of checkpoints: the time of a save, and the time of a training step.

    python experiments/benchmarks/save_cost.py --saves 5
    accelerate launch --config_file accelerate_configs/cpu_2_processes.yaml experiments/benchmarks/save_cost.py

The script trains MiniLM on reviews cut to 512 tokens, 32 per step, and saves a checkpoint after every step except the
first. A checkpoint has the weights, the optimizer, other state, and the best model. The time of a save includes
writing, syncing and hashing these files, and renaming their directory. The script reports medians.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from research import Hook, RunConfig, run_experiment
from research.settings.run_files import BEST
from research.training.api import Run
from research.training.checkpoint.save import save_checkpoint
from research.training.run import TrainingRun
from throughput import wait_for_device

MAX_LENGTH = 512
SAVE_INTERVAL = 100
"""Assumed number of steps between two saves, for computing the share of time that saving takes."""


class Stopwatch(Hook):
    """Save a checkpoint after every step except the first, and measure the times of saves and steps."""

    kept_files = (BEST,)  # so that checkpoints have the best model, as in a run with --best_metric

    def __init__(self) -> None:
        self.step_seconds: list[float] = []
        self.save_seconds: list[float] = []
        self.num_bytes = 0
        self.is_main = True

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
        checkpoint = save_checkpoint(run, keep=2)
        self.save_seconds.append(time.perf_counter() - started)
        self.num_bytes = sum(path.stat().st_size for path in checkpoint.rglob("*") if path.is_file())


def measure_saves(num_saves: int, folder: Path | None, **settings: Any) -> Stopwatch:
    """Train, save after every step except the first, and return the times.

    Args:
        num_saves: number of saves.
        folder: parent of the temporary folder; None for the system's.
        **settings: settings of the run that differ from those below.
    """
    stopwatch = Stopwatch()
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
    options = parser.parse_args()
    stopwatch = measure_saves(options.saves, options.folder)
    if not stopwatch.is_main:
        return
    save, step = (statistics.median(seconds) * 1000 for seconds in (stopwatch.save_seconds, stopwatch.step_seconds))
    spread = f"{min(stopwatch.save_seconds) * 1000:.0f} - {max(stopwatch.save_seconds) * 1000:.0f}"
    print(
        f"save {save:.0f} ms ({spread}), {stopwatch.num_bytes / 1e6:.0f} MB; step {step:.0f} ms; "
        f"saving every {SAVE_INTERVAL} steps takes {save / (save + SAVE_INTERVAL * step):.2%} of the time"
    )


if __name__ == "__main__":
    main()

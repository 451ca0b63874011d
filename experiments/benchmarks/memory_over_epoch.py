"""Measure a run's memory over an epoch: resident memory after every 50 steps, and the peak so far.

The script runs an experiment with the given settings in this process. The operating system records the peak,
so it includes memory that is used only within a step or an evaluation.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from pathlib import Path

import psutil

from research import Hook, RunConfig, run_experiment
from research.training.api import Run

NUM_FIRST_STEPS = 50
"""Number of steps whose peak is compared with the peak of the whole run."""


class MemoryRecorder(Hook):
    """Print the resident memory of this process, and remember the peaks of the first steps and of the whole run.

    Args:
        every: steps between two lines.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self.peak = self.peak_of_first_steps = 0

    def after_step(self, run: Run) -> None:
        """Print a line every `every` steps, and after the last step."""
        self.peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if run.clock.step <= NUM_FIRST_STEPS:
            self.peak_of_first_steps = self.peak
        if run.clock.step % self.every == 0 or run.clock.step == run.clock.total_steps:
            now = psutil.Process().memory_info().rss
            run.print(f"| {run.clock.step} | {now / 2**20:,.0f} | {self.peak / 2**20:,.0f} |")


def main() -> None:
    """Train, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--head", default="linear")
    parser.add_argument("--limit_train", type=int, help="training rows (default: all)")
    parser.add_argument("--max_length", type=int, default=512, help="maximum tokens per text (default: 512)")
    parser.add_argument("--mixed_precision", default="auto")
    parser.add_argument("--num_threads", type=int)
    parser.add_argument("--num_layers", type=int, help="keep only this many of the lowest layers, for slow machines")
    parser.add_argument("--every", type=int, default=50, help="steps between two lines (default: 50)")
    arguments = vars(parser.parse_args())
    recorder = MemoryRecorder(arguments.pop("every"))
    num_layers = arguments.pop("num_layers")
    timeline = [{"at": "0%", "drop_layers": f"encoder.layer[{num_layers}:]"}] if num_layers else []
    print("| step | resident memory, MiB | peak so far, MiB |\n|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        settings = {name: value for name, value in arguments.items() if value is not None}
        config = RunConfig(
            output_dir=str(Path(folder) / "run"), log_with=[], log_every=10**6, timeline=timeline, **settings
        )
        run_experiment(config, hooks=[recorder])
    print(f"Peak / peak of the first {NUM_FIRST_STEPS} steps: {recorder.peak / recorder.peak_of_first_steps:.2f}")


if __name__ == "__main__":
    main()

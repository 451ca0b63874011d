"""Measure how long the next trial of a study takes to start.

    python experiments/benchmarks/trial_start.py runs/trial_start --rounds 3

Each round runs a study of four trials that train all of `minilm`, of one step each, one after the other. The script
measures the time from the moment when a trial has written its result until the next one has taken its first step, and
prints the median over trials and rounds. An additional first round fills the caches and is not counted.

The script is also the plugin with the hook that records the time of the first step.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from research import Hook, register_hook

ABLATE = Path(__file__).parents[1] / "ablate.py"
FIRST_STEP = "first-step.txt"
"""File in a trial's directory with the time of its first step, in seconds since 1970."""
NUM_TRIALS = 4
STUDY = f"""
base:
  data: imdb
  encoder: minilm
  head: linear
  plugin: [{Path(__file__).resolve()}]
  hook: [first_step_time]
  max_length: 64
  max_steps: 1
  limit_train: 500
  limit_validation: 100
  score_test: false
grid:
  seed: {[*range(NUM_TRIALS)]}
split: validation
"""


@register_hook("first_step_time")
class FirstStepTime(Hook):
    """Write the time of the first step."""

    def after_step(self, run: Any) -> None:
        """Write the time; the run takes one step."""
        (run.directory / FIRST_STEP).write_text(str(time.time()))


def measure(directory: Path) -> list[float]:
    """Run the study in a directory, and return the seconds between each trial and the next one."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.parent.mkdir(parents=True, exist_ok=True)
    study = directory.with_suffix(".yaml")
    study.write_text(STUDY)
    command = [sys.executable, str(ABLATE), "--study", str(study), "--output_dir", str(directory), "--workers", "1"]
    subprocess.run(command, check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"}, stdout=subprocess.DEVNULL)
    trials = [path for path in (directory / "trials").iterdir() if path.is_dir()]
    first_steps = sorted(float((trial / FIRST_STEP).read_text()) for trial in trials)
    results = sorted((trial / "result.json").stat().st_mtime for trial in trials)
    return [step - result for step, result in zip(first_steps[1:], results, strict=False)]


def main() -> None:
    """Measure and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder for the studies, which are overwritten")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default: %(default)s)")
    options = parser.parse_args()
    times = []
    for number in range(options.rounds + 1):
        measured = measure(options.folder / "study")
        print(f"round {number}:", ", ".join(f"{seconds:.1f} s" for seconds in measured), flush=True)
        if number > 0:
            times += measured
    print(f"median: {statistics.median(times):.1f} s ({min(times):.1f} to {max(times):.1f})")


if __name__ == "__main__":
    main()

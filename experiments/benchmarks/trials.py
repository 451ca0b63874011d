"""Run many small trials, each in new processes, and collect their results.

Finished trials are not run again. A trial is recognised by the name of its directory, which contains its arm and its
own settings, but not the settings that all trials share. After changing shared settings, use a new folder.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RUN_SCRIPT = Path(__file__).parent.parent / "run.py"
ACCELERATE_CONFIGS = Path(__file__).parents[2] / "accelerate_configs"


def build_trial_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that all benchmarks using this module share.

    Args:
        description: the docstring of the benchmark, shown by --help.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder for the runs; finished runs are not repeated")
    parser.add_argument("--rows", type=int, default=4000, help="training reviews (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds (default: 0 1 2)")
    parser.add_argument("--jobs", type=int, default=1, help="parallel runs, which share the cores (default: 1)")
    parser.add_argument(
        "--num_processes", type=int, choices=[1, 2], default=1, help="CPU processes of each run (default: 1)"
    )
    return parser


@dataclass(frozen=True)
class Trial:
    """One run: the name of its arm, and the settings that not all trials share."""

    arm: str
    settings: Mapping[str, Any] = field(hash=False)

    @property
    def name(self) -> str:
        """Return a directory name made of the arm and the settings."""
        parts = [self.arm, *(f"{key}-{value}" for key, value in sorted(self.settings.items()))]
        return "_".join("".join(c if c.isalnum() or c in ".-" else "-" for c in part) for part in parts)


def expand_grid(arms: Mapping[str, Mapping[str, Any]], **axes: Sequence[Any]) -> list[Trial]:
    """Return a trial for every arm and every combination of the axes."""
    return [
        Trial(arm, {**settings, **dict(zip(axes, values, strict=True))})
        for arm, settings in arms.items()
        for values in itertools.product(*axes.values())
    ]


def run_trials(
    trials: Sequence[Trial], folder: Path, base: Mapping[str, Any], *, jobs: int = 1, num_processes: int = 1
) -> dict[Trial, dict[str, Any]]:
    """Run all unfinished trials, and return the results of all trials.

    Args:
        trials: the trials, finished or not.
        folder: parent of the run directories.
        base: settings that all trials share. Values are written as in flags: "null", not None.
        jobs: number of trials that run at the same time; each gets an equal share of the cores.
        num_processes: number of processes of each trial.
    """
    base = {**base, "num_threads": max(1, (os.cpu_count() or 1) // (jobs * num_processes))}
    with ThreadPoolExecutor(jobs) as pool:
        results = pool.map(lambda trial: run_trial(trial, folder / trial.name, base, num_processes), trials)
        return dict(zip(trials, results, strict=True))


def run_trial(trial: Trial, directory: Path, base: Mapping[str, Any], num_processes: int) -> dict[str, Any]:
    """Run a trial if it is not finished, and return its result.

    Raises:
        RuntimeError: if the run failed; the message quotes the end of its output.
    """
    path = directory / "result.json"
    if not path.exists() or json.loads(path.read_text())["status"] != "finished":
        settings = {**base, **trial.settings, "output_dir": directory, "overwrite": "true"}
        flags = [f"--{name}={value}" for name, value in settings.items()]
        launcher = [sys.executable]
        if num_processes > 1:
            config = ACCELERATE_CONFIGS / f"cpu_{num_processes}_processes.yaml"
            launcher += ["-m", "accelerate.commands.launch", "--config_file", str(config)]
        done = subprocess.run([*launcher, str(RUN_SCRIPT), *flags], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{trial.name} failed:\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(path.read_text())
    accuracy = result["metrics"]["validation"]["accuracy"]
    print(f"{trial.name}: validation {accuracy:.4f}, {result['train_seconds']:.0f} s", flush=True)
    return result


def format_mean_and_spread(values: Sequence[float]) -> str:
    """Format values as their mean, their standard deviation, and a list of the values."""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.4f} ± {spread:.4f} ({', '.join(f'{value:.4f}' for value in values)})"

"""Run many small trainings, each as a run of its own, and tabulate what came out.

A trial that is finished is not run again: its directory is named by its settings.
"""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RUN = Path(__file__).parent.parent / "run.py"


@dataclass(frozen=True)
class Trial:
    """One run: what it is called in the table, and its settings."""

    arm: str
    settings: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Return a directory name made of the arm and the settings."""
        parts = [self.arm, *(f"{key}-{value}" for key, value in sorted(self.settings.items()))]
        return "_".join("".join(c if c.isalnum() or c in ".-" else "-" for c in part) for part in parts)


def grid(arms: Mapping[str, Mapping[str, Any]], **axes: Sequence[Any]) -> list[Trial]:
    """Return a trial for every arm and every combination of the axes."""
    return [
        Trial(arm, {**settings, **dict(zip(axes, values, strict=True))})
        for arm, settings in arms.items()
        for values in itertools.product(*axes.values())
    ]


def run_trials(trials: Iterable[Trial], folder: Path, base: Mapping[str, Any]) -> dict[Trial, dict[str, Any]]:
    """Run every trial that is not finished, and return all results."""
    results = {}
    for trial in trials:
        directory = folder / trial.name
        result = directory / "result.json"
        if not result.exists() or json.loads(result.read_text())["status"] != "finished":
            settings = {**base, **trial.settings, "output_dir": directory, "overwrite": "true"}
            flags = [f"--{name}={value}" for name, value in settings.items()]
            done = subprocess.run([sys.executable, str(RUN), *flags], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                sys.exit(f"{trial.name} failed:\n{done.stderr[-3000:]}")
        results[trial] = json.loads(result.read_text())
        found = results[trial]
        print(
            f"{trial.name}: validation {found['metrics']['validation']['accuracy']:.4f}, "
            f"{found['train_seconds']:.0f} s",
            flush=True,
        )
    return results


def mean_and_spread(values: Sequence[float]) -> str:
    """Return mean and standard deviation over seeds, and each value."""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.4f} ± {spread:.4f} ({', '.join(f'{value:.4f}' for value in values)})"

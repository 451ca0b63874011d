"""Measure how long a short run takes to start and to write its report, compared with only importing the libraries.

    python experiments/benchmarks/start_up.py --rounds 5
    python experiments/benchmarks/start_up.py --repositories . ../before

Every round measures the following for each repository in turn, with the interpreter of its .venv if it has one:

- libraries: a process that imports torch and Transformers' AutoModel, and reads the encoder's weights
- training: `experiments/run.py --head lstm --smoke`, from its start until training begins
- first step: the same run, until it has taken its first step
- report: the same run, from the time it has written result.json until it has written report.html; includes drawing all
  images, for the page and TensorBoard
- run: the same run, from start to end

The script reports the median wall-clock time and the median CPU time over rounds. CPU time is more reliable on a busy
machine. An additional first round fills the caches and is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from research.settings.demo_packages import DEMO_ENCODERS, find_package

FOLDER = Path(__file__).parent
MARKS_PLUGIN = FOLDER / "start_up_marks.py"
"""Plugin that records when training starts, when the first step ends, and when the result and the report exist."""
LIBRARIES_SCRIPT = """
import sys, torch
from transformers import AutoModel
AutoModel.from_pretrained(sys.argv[1])
"""


@dataclass(frozen=True)
class Duration:
    """Wall-clock time and CPU time of a part of a run or process."""

    wall: float
    """Seconds of wall-clock time."""
    cpu: float
    """Seconds of CPU time, over all threads."""

    def __sub__(self, earlier: Duration) -> Duration:
        return Duration(self.wall - earlier.wall, self.cpu - earlier.cpu)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count (default: %(default)s)")
    parser.add_argument(
        "--repositories", type=Path, nargs="+", default=[FOLDER.parents[1]], help="checkouts (default: this one)"
    )
    parser.add_argument("--options", nargs="*", default=[], help="additional settings of the run, as name=value")
    arguments = parser.parse_args()
    encoder = find_package(DEMO_ENCODERS["minilm"]) / "model"
    durations: dict[Path, dict[str, list[Duration]]] = {path: defaultdict(list) for path in arguments.repositories}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(arguments.rounds + 1):
            for repository in arguments.repositories:
                measured = {
                    "libraries": time_libraries(find_interpreter(repository), encoder),
                    **time_run(repository, Path(folder), [f"--{option}" for option in arguments.options]),
                }
                load = os.getloadavg()[0]
                print(f"round {number}, load {load:.1f}, {repository}: {describe(measured)}", flush=True)
                if number == 0:  # this round only fills the caches
                    continue
                for name, duration in measured.items():
                    durations[repository][name].append(duration)
    print_table(durations)


def find_interpreter(repository: Path) -> str:
    """Return the interpreter of a checkout's .venv, or the current one if there is no .venv."""
    interpreter = repository / ".venv" / "bin" / "python"
    return str(interpreter.absolute()) if interpreter.exists() else sys.executable


def time_libraries(python: str, encoder: Path) -> Duration:
    """Return the time for importing the libraries and reading the weights."""
    started, before = time.time(), read_child_cpu_time()
    subprocess.run([python, "-c", LIBRARIES_SCRIPT, str(encoder)], check=True, capture_output=True)
    return Duration(time.time() - started, read_child_cpu_time() - before)


def time_run(repository: Path, folder: Path, options: Sequence[str]) -> dict[str, Duration]:
    """Run an experiment, and return the durations described at the top of this file, except `libraries`."""
    marks_path, directory = folder / "marks", folder / "run"
    marks_path.unlink(missing_ok=True)
    command = [find_interpreter(repository), str(repository.absolute() / "experiments" / "run.py"), "--head", "lstm"]
    command += ["--smoke", "--overwrite", "--output_dir", str(directory), "--plugin", str(MARKS_PLUGIN)]
    environment = {
        **os.environ,
        "START_UP_MARKS": str(marks_path),
        "MIDWAY_CACHE": str(folder / "cache" / repository.name),
    }
    started, before = time.time(), read_child_cpu_time()
    done = subprocess.run(
        [*command, "--hook", "start_up_marks", *options],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"The run of {repository} failed:\n{done.stderr[-3000:]}")
    total = Duration(time.time() - started, read_child_cpu_time() - before)
    times = {
        name: Duration(wall - started, cpu)
        for name, wall, cpu in map(json.loads, marks_path.read_text(encoding="utf-8").splitlines())
    }
    return {
        "training": times["training"],
        "first step": times["first step"],
        "report": times["report.html"] - times["result.json"],
        "run": total,
    }


def read_child_cpu_time() -> float:
    """Return the CPU time of all finished child processes."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def describe(measured: Mapping[str, Duration]) -> str:
    """Format the results of a round as one line: wall-clock time, and CPU time in parentheses."""
    return ", ".join(f"{name} {duration.wall:.2f} s ({duration.cpu:.2f})" for name, duration in measured.items())


def print_table(durations: Mapping[Path, Mapping[str, Sequence[Duration]]]) -> None:
    """Print the median durations, and their ratios to the time for importing the libraries."""
    print("\nMedian seconds of wall-clock and CPU time, and ratios to `libraries` in the same round.\n")
    print("| repository | part | wall | CPU | wall, ratio | CPU, ratio |")
    print("|---|---|---|---|---|---|")
    for repository, measured in durations.items():
        for name, rounds in measured.items():
            pairs = list(zip(rounds, measured["libraries"], strict=True))
            cells = (
                statistics.median(each.wall for each in rounds),
                statistics.median(each.cpu for each in rounds),
                statistics.median(each.wall / libraries.wall for each, libraries in pairs),
                statistics.median(each.cpu / libraries.cpu for each, libraries in pairs),
            )
            print(f"| {repository} | {name} | {' | '.join(f'{cell:.2f}' for cell in cells)} |")


if __name__ == "__main__":
    main()

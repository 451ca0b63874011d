"""Kill predict.py at random times, repeat the command until it ends, and compare the output's bytes.

`python -m tests.scripts.predict_kills FOLDER --run RUN --data FILE --kills 10` prints a line for each killed command.
Tests call `kill_and_compare`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.conftest import ROOT, BackgroundCommand, command_line

SETTINGS = [
    *("--keep_columns", "all", "--num_threads", "1", "--mixed_precision", "no"),
    *("--plugin", str(ROOT / "tests" / "plugins" / "small_chunks.py")),
]


@dataclass(frozen=True)
class KilledPrediction:
    """The outcome of a command that was killed and repeated."""

    num_finished: tuple[int, ...]
    """Number of finished chunks at each kill."""
    num_chunks: int
    """Number of all chunks."""
    victims: tuple[str, ...]
    """What was killed each time: `all` processes, or `one` process."""
    problem: str
    """What is wrong with the output or the files beside it; empty if nothing is."""

    def __str__(self) -> str:
        kills = ", ".join(
            f"{victims} after {number}" for number, victims in zip(self.num_finished, self.victims, strict=True)
        )
        return f"killed {kills} of {self.num_chunks} chunks: {self.problem or 'same bytes'}"


def kill_and_compare(
    folder: Path,
    run: Path,
    data: Path,
    environment: Mapping[str, str],
    *,
    num_kills: int,
    num_processes: int = 0,
    suffix: str = ".csv",
    seed: int = 0,
) -> Iterator[KilledPrediction]:
    """Yield the outcome of each killed command.

    Args:
        folder: existing folder for the outputs.
        run: the trained model.
        data: data with some hundred rows.
        environment: environment variables for the commands.
        num_kills: number of commands to kill, at times spread over a whole command; every third one is killed twice.
        num_processes: processes of a command; 0 means plain `python`.
        suffix: extension of the outputs.
        seed: seed for the times of the kills.
    """
    generator = np.random.default_rng(seed)
    whole = folder / f"whole{suffix}"
    command = _start(whole, run, data, environment, 0)  # always one process: their number must not matter
    num_chunks = 0
    while command.process.poll() is None:
        num_chunks = max(num_chunks, _count_chunks(whole))
    assert command.wait() == 0, command.read_output()
    for number in range(num_kills):
        output = folder / f"killed-{number}{suffix}"
        finished, victims = [], []
        for _ in range(2 if number % 3 == 2 else 1):
            command = _start(output, run, data, environment, num_processes)
            # Also before the first chunk, and while the chunks are joined.
            num_awaited = max(_count_chunks(output), (number * (num_chunks + 1)) // num_kills)
            while command.process.poll() is None and _count_chunks(output) < min(num_awaited, num_chunks):
                time.sleep(0.001)
            time.sleep(generator.uniform(0, 0.05))
            finished.append(_count_chunks(output))
            victims.append("one" if num_processes > 1 and number % 2 else "all")
            _kill(command, victims[-1])
        command = _start(output, run, data, environment, num_processes)
        # A kill after the end leaves a finished output, which the repeated command does not replace.
        is_refused = command.wait() != 0 and "exists already" not in command.read_output()
        yield KilledPrediction(
            tuple(finished),
            num_chunks,
            tuple(victims),
            command.read_output() if is_refused else _find_problem(output, whole),
        )


def _start(
    output: Path, run: Path, data: Path, environment: Mapping[str, str], num_processes: int
) -> BackgroundCommand:
    arguments = [run, "--data", data, "--output", output, *SETTINGS]
    command = command_line(arguments, num_processes=num_processes, script="predict.py")
    return BackgroundCommand(command, output.parent, {**os.environ, **environment}, output.with_suffix(".txt"))


def _kill(command: BackgroundCommand, victims: str) -> None:
    """Kill all processes of a command, or one that the launcher started; do nothing if the command has ended."""
    if victims == "one":
        workers = [process for process in command.running_processes() if process.pid != command.process.pid]
        if workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(workers[-1].pid, signal.SIGKILL)
            command.wait()
            return
    command.kill()


def _count_chunks(output: Path) -> int:
    try:
        names = os.listdir(output.with_name(f".{output.name}.parts"))
    except FileNotFoundError:  # not created yet, or already removed
        return 0
    return sum(name.startswith("part-") for name in names)


def _find_problem(output: Path, expected: Path) -> str:
    if output.read_bytes() != expected.read_bytes():
        return "the bytes differ"
    left = [path.name for path in output.parent.iterdir() if path.name.startswith(f".{output.name}")]
    return f"files are left: {left}" if left else ""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each killed command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="new folder for the outputs")
    parser.add_argument("--run", type=Path, required=True, help="trained model, such as a run directory")
    parser.add_argument("--data", type=Path, required=True, help="data with some hundred rows")
    parser.add_argument("--kills", type=int, default=10, help="number of commands to kill (default: 10)")
    parser.add_argument(
        "--num_processes", type=int, default=0, help="processes of each command; 0 means plain `python` (default: 0)"
    )
    parser.add_argument("--suffix", default=".csv", help="extension of the outputs (default: .csv)")
    parser.add_argument("--seed", type=int, default=0, help="seed for the times of the kills")
    parsed = parser.parse_args(arguments)
    parsed.folder.mkdir(parents=True)
    for killed in kill_and_compare(
        parsed.folder.resolve(),
        parsed.run.resolve(),
        parsed.data.resolve(),
        {},
        num_kills=parsed.kills,
        num_processes=parsed.num_processes,
        suffix=parsed.suffix,
        seed=parsed.seed,
    ):
        print(killed, flush=True)


if __name__ == "__main__":
    main()

"""Kill runs at random times, resume them, and compare their files with those of an uninterrupted run.

`python -m tests.scripts.kills FOLDER --encoder E --data D --kills 25` prints a table. Tests call `kill_and_compare`.
Kills are timed by events. An event is a point of the loop or an operation on a file of the run, as counted by the
plugin count_events.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from tests.conftest import ROOT, BackgroundCommand, command_line

TIMELINE = (
    "{at: 2st, unfreeze: 'encoder.layer[1]'}",
    "{at: 3st, replace_head: gru}",
    "{at: 5st, unfreeze: encoder, set_dropout: {modules: head, p: 0.2}}",
    "{at: 6st, add_lora: {r: 2}}",
    "{at: 8st, set_max_length: 24}",
    "{at: 10st, merge_lora: true}",
)
"""Entries of the timeline. The time "2st" is the boundary after step 2."""
SETTINGS = [
    *("--max_length", "32", "--batch_size", "8", "--epochs", "2", "--log_every", "1", "--mixed_precision", "no"),
    *("--num_threads", "1", "--report", "false", "--freeze", "encoder", "--hook", "ema", "--hook", "count_events"),
    *("--evaluate_every", "3st", "--best_metric", "loss", "--save_every", "2st"),
    *("--plugin", str(ROOT / "tests" / "plugins" / "count_events.py")),
    *(part for entry in TIMELINE for part in ("--timeline", entry)),
]


@dataclass(frozen=True)
class KilledRun:
    """The outcome of a run that was killed and resumed."""

    kill_events: tuple[int, ...]
    """Number of the event at which the run was killed, for each kill; for the second kill, counted from the resume."""
    num_events: int
    """Number of events of an uninterrupted run."""
    victims: str
    """The killed processes: `all`, or the rank of one process."""
    resumed_from: tuple[str, ...]
    """Name of the checkpoint from which the run continued after each kill."""
    differences: tuple[str, ...]
    """Differences from the uninterrupted run."""

    def __str__(self) -> str:
        kills = " and ".join(f"{kill_event}/{self.num_events}" for kill_event in self.kill_events)
        resumed = ", ".join(self.resumed_from)
        return f"{kills:>21}  killed: {self.victims:4} resumed from: {resumed:45} {self.differences or 'same bits'}"


def kill_and_compare(
    folder: Path,
    settings: Sequence[str],
    environment: Mapping[str, str],
    *,
    num_kills: int,
    num_processes: int = 0,
    seed: int = 0,
) -> Iterator[KilledRun]:
    """Yield the outcome of each killed run.

    Args:
        folder: folder for the runs.
        settings: flags for the encoder and the data; all other settings are in SETTINGS.
        environment: environment variables for the commands.
        num_kills: number of runs to kill, at times spread over a whole run; every third run is killed twice.
        num_processes: processes of a run; 0 means plain `python`.
        seed: seed for the times of the kills.
    """
    generator = np.random.default_rng(seed)
    uninterrupted_run = folder / "whole"
    command = _start_run(uninterrupted_run, settings, environment, num_processes)
    assert command.wait() == 0, command.read_output()
    num_events = _count_events(uninterrupted_run)
    for number in range(num_kills):
        run = folder / f"killed-{number}"
        kill_events: list[int] = []
        resumed_from = []
        victims = "all" if num_processes < 2 or number % 2 else str(generator.integers(num_processes))
        for _ in range(2 if number % 3 == 2 else 1):
            if kill_events:  # the rest of the run is shorter
                kill_event = int(generator.integers(num_events // 4))
            else:
                kill_event = int(generator.integers(number * num_events, (number + 1) * num_events) // num_kills)
            command = _start_run(
                run, settings, environment, num_processes, *(["--resume", "auto"] if kill_events else [])
            )
            _kill_after(command, run, kill_event, victims, generator.uniform(0, 0.03))
            resumed_from += [_read_resumed_from(command.read_output())] if kill_events else []
            kill_events.append(kill_event)
        command = _start_run(run, settings, environment, num_processes, "--resume", "auto")
        assert command.wait() == 0, command.read_output()
        resumed_from.append(_read_resumed_from(command.read_output()))
        yield KilledRun(
            tuple(kill_events),
            num_events,
            victims,
            tuple(resumed_from),
            tuple(find_differences(uninterrupted_run, run)),
        )


def _start_run(
    run: Path, settings: Sequence[str], environment: Mapping[str, str], num_processes: int, *extra_flags: str
) -> BackgroundCommand:
    progress = run.with_suffix(".progress")
    progress.mkdir(exist_ok=True, parents=True)
    for path in progress.iterdir():
        path.unlink()
    arguments = [*settings, *SETTINGS, "--output_dir", str(run), *extra_flags]
    # The plugin count_events reads PROGRESS and RUN.
    all_variables = {**os.environ, **environment, "PROGRESS": str(progress), "RUN": str(run)}
    command = command_line(arguments, num_processes=num_processes)
    return BackgroundCommand(command, run.parent, all_variables, run.with_suffix(".txt"))


def _count_events(run: Path) -> int:
    path = run.with_suffix(".progress") / "events"
    return path.stat().st_size if path.exists() else 0  # the plugin writes one byte per event


def _kill_after(command: BackgroundCommand, run: Path, num_events: int, victims: str, delay: float) -> None:
    """Kill processes after a number of events; do nothing if the run ends earlier.

    Args:
        command: the run's command.
        run: the run directory.
        num_events: number of events to wait for.
        victims: `all`, or the rank of one process.
        delay: seconds to wait after the event.
    """
    while command.process.poll() is None and _count_events(run) < max(1, num_events):
        time.sleep(0.001)
    time.sleep(delay)  # so that some kills come between events
    if command.process.poll() is not None:
        return
    if victims == "all":
        command.kill()
        return
    try:
        os.kill(int((run.with_suffix(".progress") / f"pid-{victims}").read_text()), signal.SIGKILL)
    except (ProcessLookupError, FileNotFoundError):
        command.kill()  # the process has ended, or has not started yet
    command.wait()
    assert not command.running_processes(), "processes of the killed run are still running"


def _read_resumed_from(printed: str) -> str:
    """Return from where a run resumed, according to its output: a checkpoint's name or "the beginning".

    If the run had already finished before it was resumed, the result is "finished".
    """
    if "is finished" in printed:
        return "finished"
    messages = [line for line in printed.splitlines() if line.startswith("Resuming from ")]
    return Path(messages[0].removeprefix("Resuming from ").rstrip(".")).name if messages else "the beginning"


def find_differences(expected_run: Path, run: Path) -> Iterator[str]:
    """Yield the files and fields in which two runs differ, except for measured speeds."""
    results = [json.loads((folder / "result.json").read_text()) for folder in (expected_run, run)]
    for name in ("status", "weights_sha256", "metrics", "steps", "epochs", "edits", "tested", "skipped_steps"):
        if results[0][name] != results[1][name]:
            yield name
    for name in ("metrics.jsonl", "journal.jsonl"):
        if _lines(expected_run / name) != _lines(run / name):
            yield name
    for path in sorted((expected_run / "predictions").iterdir()):
        if not pq.read_table(path).equals(pq.read_table(run / "predictions" / path.name)):
            yield path.name
    for name in ("model", "best") if (expected_run / "best").exists() else ("model",):
        if (expected_run / name / "model.safetensors").read_bytes() != (run / name / "model.safetensors").read_bytes():
            yield name
    names = [{path.name for path in folder.iterdir()} for folder in (expected_run, run)]
    if names[0] != names[1]:
        yield f"files {names[0] ^ names[1]}"


def _lines(path: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "examples_per_second"} for line in lines]


def main() -> None:
    """Print a line for each killed run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="new folder for the runs")
    parser.add_argument("--encoder", required=True, help="directory of a tiny encoder")
    parser.add_argument("--data", required=True, help="folder with a few rows of data")
    parser.add_argument("--kills", type=int, default=25, help="number of runs to kill (default: 25)")
    parser.add_argument(
        "--num_processes", type=int, default=0, help="processes of each run; 0 means plain `python` (default: 0)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed for the times of the kills (default: 0)")
    parser.add_argument("--shard", choices=["fsdp2"], help="split the parameters over the processes")
    parser.add_argument("--shard_checkpoints", action="store_true", help="write one file per process")
    parser.add_argument("--save_in_background", action="store_true", help="write checkpoints while training continues")
    arguments = parser.parse_args()
    settings = ["--encoder", arguments.encoder, "--data", arguments.data]
    settings += ["--shard", arguments.shard] if arguments.shard else []
    for name in ("shard_checkpoints", "save_in_background"):
        settings += [f"--{name}", "true"] if getattr(arguments, name) else []
    arguments.folder.mkdir(parents=True)
    options = {"num_kills": arguments.kills, "num_processes": arguments.num_processes, "seed": arguments.seed}
    for killed_run in kill_and_compare(arguments.folder.resolve(), settings, {}, **options):
        print(killed_run, flush=True)


if __name__ == "__main__":
    main()

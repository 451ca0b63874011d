"""Check that runs with random timelines give the same results if they are killed and resumed, or forked.

`python -m tests.scripts.fuzz_timelines FOLDER --encoder E --data D --runs 60 --seed 1` prints a line per run. Tests
call `fuzz`. Every run is a process that can be killed with SIGKILL. It is forked from this process, which has imported
the libraries, so that it does not spend seconds on imports.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import research.runner.set_up  # noqa: F401  (imported once for all child processes)
from research import Hook, RunConfig, run_experiment
from research.training.checkpoint.find import list_checkpoints, step_of
from research.training.hook import POINTS
from tests.scripts.kills import find_differences

NUM_STEPS = 12
"""Steps of each run: two epochs of the tests' tiny reviews in batches of 8."""
FILE_EVENTS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "shutil.rmtree")
"""Python's audit events for operations on files."""
SUCCESS, REFUSED = 0, 3
"""Exit statuses of the forked processes."""

HEADS: tuple[Any, ...] = (
    "linear",
    "attention",
    {"name": "cnn", "num_filters": 4},
    {"name": "gru", "gru_size": 8},
    {"name": "lstm", "lstm_size": 8},
    "last",
    "last4",
    {"name": "latent", "num_latents": 4},
    "max",
    "mean",
    "mean_last",
    {"name": "mlp", "dropout": 0.3},
    "scalar_mix",
)
SCHEDULES: tuple[Any, ...] = (
    "one_cycle",
    "linear",
    "cosine",
    "constant",
    "plateau",
    {"name": "one_cycle", "cycle_momentum": True},
)
HOOKS: tuple[Any, ...] = (
    "ema",
    {"name": "swa", "start": "25%", "every": "2st"},
    "fgm",
    {"name": "loss_spike_guard", "window": 2, "threshold": 0.5, "max_skips": 99},
    {"name": "length_warmup", "start": 8, "over": "60%"},
    {"name": "early_stopping", "patience": 4},
)
EDITS: tuple[dict[str, Any], ...] = (
    {"freeze": "encoder.layer[0]"},
    {"freeze": "encoder"},
    {"unfreeze": "encoder.layer[-1:]"},
    {"unfreeze": "encoder"},
    {"set_dropout": 0.2},
    {"set_dropout": {"modules": "head", "p": 0.4}},
    {"set_lr": {"lr": 0.003, "modules": "head"}},
    {"scale_lr": 0.5},
    {"set_weight_decay": {"weight_decay": 0.3, "modules": "encoder"}},
    {"reinitialize": "encoder.layer[-1]"},
    {"drop_layers": "encoder.layer[0]"},
    {"set_objective": {"name": "focal", "gamma": 1.0}},
    {"set_objective": "cross_entropy"},
    {"set_max_length": 12},
    {"add_lora": {"r": 2, "dropout": 0.1}},
    {"merge_lora": True},
)
CONDITIONS = (
    "below(validation/loss, 9)",
    "above(validation/accuracy, 0.6)",
    "plateau(validation/loss, 1)",
    "plateau(validation/accuracy, 2)",
)


def random_settings(generator: np.random.Generator) -> dict[str, Any]:
    """Return random settings of a short run: head, hooks, schedule, saves, and a timeline of one to six entries."""

    def choose(choices: tuple[Any, ...]) -> Any:
        # A choice that is listed twice is chosen twice as often.
        return choices[generator.integers(len(choices))]

    def random_time() -> str:
        step = int(generator.integers(1, NUM_STEPS))
        # The same time in steps, epochs (of 6 steps) or percent of the run.
        return choose((f"{step}st", f"{step / 6:.6f}ep", f"{100 * step / NUM_STEPS:.6f}%"))

    def random_entry() -> dict[str, Any]:
        edits = {**choose(EDITS), **(choose(EDITS) if generator.random() < 0.25 else {})}
        if generator.random() < 0.2:
            edits = {"replace_head": choose(HEADS)}
        draw = generator.random()
        if draw < 0.7:
            return {"at": random_time(), **edits}
        return (
            {"every": f"{generator.integers(3, 6)}st", "scale_lr": 0.8}
            if draw < 0.8  # only an edit that can be repeated any number of times
            else {"when": choose(CONDITIONS), "on_conflict": "skip", **edits}
        )

    timeline = [random_entry() for _ in range(generator.integers(1, 7))]
    return {
        "head": choose(HEADS),
        "schedule": choose(SCHEDULES),
        "schedule_interval": choose(("step", "step", "epoch")),
        "warmup": choose(("10%", "2st", "0")),
        "optimizer": choose(("adamw", "adamw", "sgd")),
        "lr": 0.01,
        "hook": [hook for hook in HOOKS if generator.random() < 0.25],
        "freeze": ["encoder.embeddings"] if generator.random() < 0.3 else [],
        "peft": "lora" if generator.random() < 0.15 else None,
        "best_metric": choose((None, "loss", "accuracy")),
        "patience": choose((None, None, 3)),
        "evaluate_every": f"{generator.integers(1, 5)}st",
        "save_every": f"{generator.integers(1, 5)}st",
        "micro_batch_size": choose((8, 3)),
        "timeline": timeline,
    }


@dataclass(frozen=True)
class Outcome:
    """The outcome of one random run."""

    number: int
    """Number of the run."""
    settings: dict[str, Any]
    """Settings of the run."""
    refused: bool
    """Whether the timeline was refused before training, or ended the run with an error for users."""
    num_kills: int
    """How often the run was killed."""
    forked_at: int | None
    """Step of the checkpoint that was chosen for the fork; None if the run was refused. If it is the last
    step, no fork is made."""
    differences: tuple[str, ...]
    """Differences between the uninterrupted run and the killed or forked run."""

    def __str__(self) -> str:
        if self.refused:
            return f"{self.number:3}  refused"
        num_entries = len(self.settings["timeline"])
        summary = f"{num_entries} entries, killed {self.num_kills} times, forked at step {self.forked_at}"
        return f"{self.number:3}  {summary}: {', '.join(self.differences) or 'same bits'}"


class CallAtEveryPoint(Hook):
    """Call a function at every point of the loop.

    Args:
        function: the function.
    """

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function


for _point in POINTS:
    setattr(CallAtEveryPoint, _point, lambda self, *arguments: self._function())


def fuzz(folder: Path, encoder: str, data: str, *, num_runs: int, seed: int) -> Iterator[Outcome]:
    """Yield the outcomes of random runs, including refused runs, until `num_runs` of them have trained.

    Args:
        folder: folder for the runs.
        encoder: directory of a tiny encoder.
        data: folder of tiny reviews.
        num_runs: number of runs that train.
        seed: seed for all random choices.
    """
    generator = np.random.default_rng(seed)
    number = num_trained = 0
    while num_trained < num_runs:
        number += 1
        workspace = folder / f"{number:03}"
        workspace.mkdir(parents=True)
        settings = _common_settings(encoder, data) | random_settings(generator)
        fractions = generator.random(3)  # positions of the two kills and the fork, as fractions of the run
        num_kills = int(generator.integers(1, 3))
        uninterrupted_run = workspace / "whole"
        events = workspace / "events"
        if _run_in_child(settings, uninterrupted_run, count_into=events) == REFUSED:
            yield Outcome(number, settings, refused=True, num_kills=0, forked_at=None, differences=())
            shutil.rmtree(workspace)
            continue
        num_trained += 1
        num_events = events.stat().st_size
        all_differences = []
        killed = workspace / "killed"
        for kill in range(num_kills):
            kill_at = int(fractions[kill] * num_events / (1 + kill))  # a resumed run has fewer events
            _run_in_child(settings | {"resume": "auto"}, killed, kill_at=kill_at)
        if not (killed / "result.json").exists():
            _run_in_child(settings | {"resume": "auto"}, killed)
        all_differences += _compare("killed", uninterrupted_run, killed)
        checkpoints = list_checkpoints(uninterrupted_run)
        checkpoint = checkpoints[int(fractions[2] * len(checkpoints))]
        step = step_of(checkpoint)
        last_step = json.loads((uninterrupted_run / "result.json").read_text())["steps"]
        if step < last_step:  # after the last step, there is nothing left to train or save
            fork = workspace / "fork"
            _run_in_child(settings | {"fork": f"{uninterrupted_run}@{step}"}, fork)
            all_differences += _compare("forked", uninterrupted_run, fork)
        yield Outcome(
            number, settings, refused=False, num_kills=num_kills, forked_at=step, differences=tuple(all_differences)
        )
        if not all_differences:
            shutil.rmtree(workspace)


def _compare(kind: str, uninterrupted_run: Path, run: Path) -> list[str]:
    """Return the differences between two runs. If `run` was refused, it has no result, which is a difference."""
    if not (run / "result.json").exists():
        return [f"{kind}: refused"]
    return [f"{kind}: {difference}" for difference in find_differences(uninterrupted_run, run)]


def _common_settings(encoder: str, data: str) -> dict[str, Any]:
    return {
        "encoder": encoder,
        "data": data,
        "max_length": 32,
        "batch_size": 8,
        "epochs": 2,
        "keep": 99,
        "log_every": 1,
        "log_with": [],
        "mixed_precision": "no",
        "num_threads": 1,
        "report": False,
    }


def _train(settings: dict[str, Any], directory: Path, count_into: Path | None, kill_at: int | None) -> None:
    """Train, and count events: calls of hooks, and operations on files of the run.

    Args:
        settings: settings of the run.
        directory: directory of the run.
        count_into: file to which one character per event is written.
        kill_at: number of the event at which this process kills itself.
    """
    num_events = 0
    events = None if count_into is None else os.open(count_into, os.O_WRONLY | os.O_CREAT)

    def count() -> None:
        nonlocal num_events
        num_events += 1
        if events is not None:
            os.write(events, b".")
        if num_events == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch_files(event: str, arguments: tuple[Any, ...]) -> None:
        if event in FILE_EVENTS and str(directory) in str(arguments[0]):
            count()

    sys.addaudithook(watch_files)
    run_experiment(RunConfig(**settings, output_dir=str(directory)), hooks=[CallAtEveryPoint(count)])


def _run_in_child(
    settings: dict[str, Any], directory: Path, *, count_into: Path | None = None, kill_at: int | None = None
) -> int:
    """Train in a forked process, and return its exit status: SUCCESS, REFUSED, or the negative number of SIGKILL.

    Args:
        settings: settings of the run.
        directory: directory of the run.
        count_into: file to which one character per event is written.
        kill_at: number of the event at which the process kills itself.

    Raises:
        AssertionError: if the process ended in any other way; the message has its output.
    """
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        os.dup2(write_end, 1)
        os.dup2(write_end, 2)
        status = 1
        try:
            _train(settings, directory, count_into, kill_at)
            status = SUCCESS
        except ValueError as error:
            print(error, flush=True)
            status = REFUSED
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(BaseException):
                sys.stdout.flush()
            os._exit(status)
    os.close(write_end)
    with os.fdopen(read_end, errors="replace") as pipe:
        printed = pipe.read()
    _, status = os.waitpid(child, 0)
    exit_status = os.waitstatus_to_exitcode(status)
    expected_statuses = (SUCCESS, -signal.SIGKILL) if kill_at is not None else (SUCCESS, REFUSED)
    assert exit_status in expected_statuses, printed[-5000:]
    return exit_status


def main() -> None:
    """Print a line per run, and the counts of outcomes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="new folder for the runs")
    parser.add_argument("--encoder", required=True, help="directory of a tiny encoder")
    parser.add_argument("--data", required=True, help="folder of tiny reviews")
    parser.add_argument("--runs", type=int, default=60, help="number of runs that train (default: 60)")
    parser.add_argument("--seed", type=int, default=0, help="seed for all random choices (default: 0)")
    arguments = parser.parse_args()
    outcomes = []
    for outcome in fuzz(
        arguments.folder.resolve(), arguments.encoder, arguments.data, num_runs=arguments.runs, seed=arguments.seed
    ):
        print(outcome, flush=True)
        outcomes.append(outcome)
    trained = [outcome for outcome in outcomes if not outcome.refused]
    different = [outcome for outcome in trained if outcome.differences]
    kills = sum(outcome.num_kills for outcome in trained)
    print(
        f"{len(trained)} runs, {kills} kills, {len(outcomes) - len(trained)} refused, {len(different)} with differences"
    )
    raise SystemExit(bool(different))


if __name__ == "__main__":
    main()

"""Measure how much a study of short trials adds to the work that cannot be avoided.

    python experiments/benchmarks/short_study.py runs/short_study --rounds 3

The study has nine trials: the heads linear, attention and mlp with three seeds each, for three epochs on the stored
hidden states of 500 reviews of at most 64 tokens. In every round, the CPU time of these commands is measured:

- floor: a process that imports torch and Transformers, reads tokens and hidden states from files, and trains,
  evaluates and saves all nine heads with a loop written by hand
- study: `experiments/ablate.py`, from its start until it has written its report

Tokens and hidden states are computed in a first round, which is not counted. CPU time covers all threads and processes.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

ABLATE = Path(__file__).parents[1] / "ablate.py"
STUDY = """
name: short
base:
  data: imdb
  encoder: minilm
  freeze: [encoder]
  max_length: 64
  epochs: 3
  limit_train: 500
  limit_validation: 250
  limit_test: 500
  head_lr: 1e-2
grid:
  head: [linear, attention, mlp]
  seed: [0, 1, 2]
"""


def measure(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Run a command, and return its CPU time, with that of its children, and its wall-clock time, in seconds."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, time.perf_counter() - started


def run_floor(folder: Path, study: Path) -> None:
    """Train all heads with a loop written by hand, on hidden states that the first call stores."""
    import torch
    import transformers  # noqa: F401

    from frozen_heads import load_parts, run_encoder, train_head
    from research.model.encoders import load_encoder_config
    from research.studies.command import StudyCommand, parse_study
    from research.studies.grid import expand

    command = parse_study(["--study", str(study)])
    assert isinstance(command, StudyCommand)
    trials = expand(command.spec)
    path = folder / "hidden_states.pt"
    if not path.exists():
        splits, collator, model, _ = load_parts(trials[0])
        torch.save((splits, run_encoder(splits, collator, model, trials[0].config().evaluation_batch_size)), path)
        return
    splits, hidden_states = torch.load(path, weights_only=False)
    encoder_config = load_encoder_config(trials[0].config().encoder)
    for trial in trials:
        head = train_head(trial, splits, hidden_states, encoder_config)
        torch.save(head.state_dict(), folder / f"{trial.id}.pt")


def main() -> None:
    """Measure all rounds and print the medians, or run the floor in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder for all output; must not exist")
    parser.add_argument("--rounds", type=int, default=3, help="rounds to count (default: %(default)s)")
    parser.add_argument("--floor", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    study = options.folder / "study.yaml"
    if options.floor:
        run_floor(options.folder, study)
        return
    options.folder.mkdir(parents=True)
    study.write_text(STUDY, encoding="utf-8")
    environment = {**os.environ, "MIDWAY_CACHE": str(options.folder / "cache")}
    measured: dict[str, list[tuple[float, float]]] = {"floor": [], "study": []}
    for number in range(options.rounds + 1):
        commands = {
            "floor": [sys.executable, __file__, str(options.folder), "--floor"],
            "study": [sys.executable, str(ABLATE), "--study", str(study)],
        }
        commands["study"] += ["--output_dir", str(options.folder / f"round-{number}")]
        for name, command in commands.items():
            seconds = measure(command, environment)
            print(f"round {number}, {name}: {seconds[0]:.1f} s of CPU time, {seconds[1]:.1f} s", flush=True)
            if number > 0:
                measured[name].append(seconds)
    for name, rounds in measured.items():
        cpu, wall = (statistics.median(column) for column in zip(*rounds, strict=True))
        print(f"{name}: median {cpu:.1f} s of CPU time, {wall:.1f} s")
    ratios = [each[0] / floor[0] for floor, each in zip(measured["floor"], measured["study"], strict=True)]
    print(f"study / floor, CPU time: median {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()

"""Compare windows with truncation at equal training time, on texts that are longer than an input of the encoder.

    python experiments/benchmarks/long_texts.py runs/long_texts --task imdb --seeds 1
    python experiments/benchmarks/long_texts.py runs/long_texts --task middle --seeds 3

Tasks:

- `imdb`: the packaged movie reviews that have more than 512 tokens.
- `middle`: a synthetic task. Each text is one short review of `rotten_tomatoes`, after a marker word, between neutral
  sentences about no film in particular. So the start and the end of a text never contain the answer.

Every run has the head `attention` and trains the head and the last two layers of MiniLM. A run ends as soon as its
steps have taken a given CPU time, so that all arms train equally long, but on different numbers of texts. The learning
rate is constant, because the number of steps is not known beforehand. Each run is a process of its own with one thread.
Results are appended to results.jsonl in the folder. Finished runs are not repeated. The table is printed at the end.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from research import Hook, RunConfig, run_experiment
from research.training.api import Run

NEUTRAL = (
    "The doors open half an hour before the start.",
    "The second screen is on the left, behind the stairs.",
    "Tickets are sold at the desk and on the website.",
    "There are eighteen rows with twelve seats each.",
    "The bus stops in front of the building every ten minutes.",
    "Coats can be left in the room next to the entrance.",
    "The programme changes on Thursday.",
    "The show lasts about two hours, with one break.",
    "The lights are switched off after the announcements.",
    "Groups of ten or more people call the office first.",
    "The car park closes at midnight.",
    "The building was finished in the spring of that year.",
)
MARKER = "Review:"
NUM_NEUTRAL = 8
"""Number of neutral sentences before the review, and after it."""
LENGTHS = {"imdb": 128, "middle": 64}
"""Length of an input in tokens."""
ARMS: dict[str, dict[str, Any]] = {
    "head": {"truncation": "head"},
    "tail": {"truncation": "tail"},
    "head_tail": {"truncation": "head_tail"},
    "windows": {"long_texts": "windows", "max_windows": 8},
}
NUM_ROWS = {
    "imdb": {"train": 3000, "validation": 50, "test": 200},
    "middle": {"train": 4000, "validation": 50, "test": 300},
}


class CpuTimeLimit(Hook):
    """Stops training after some CPU time, and counts the steps.

    Args:
        seconds: CPU time of this process.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.used = 0.0
        self.num_examples = 0
        self._started = 0.0

    def on_train_start(self, run: Run) -> None:
        self._started = time.process_time()

    def after_step(self, run: Run) -> None:
        self.used = time.process_time() - self._started
        self.num_examples += run.config.batch_size
        if self.used >= self.seconds:
            run.stop("the CPU time is used up")


def main() -> None:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--task", choices=LENGTHS, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60.0, help="CPU seconds of training (default: %(default)s)")
    parser.add_argument("--measure", nargs=2, metavar=("ARM", "SEED"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        arm, seed = arguments.measure
        measure(arguments.folder, arguments.task, arm, int(seed), arguments.seconds)
        return
    data = arguments.folder / f"data-{arguments.task}"
    if not data.exists():
        write_data(arguments.task, data)
    for seed in range(arguments.seeds):
        for arm in ARMS:
            if any((each["arm"], each["seed"]) == (arm, seed) for each in read(arguments.folder, arguments.task)):
                continue
            command = [sys.executable, __file__, str(arguments.folder), "--task", arguments.task]
            command += ["--seconds", str(arguments.seconds), "--measure", arm, str(seed)]
            subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    print_table(read(arguments.folder, arguments.task))


def write_data(task: str, folder: Path) -> None:
    """Write the rows of a task as csv files."""
    from research.data.batches.tokens import tokenize_texts
    from research.data.prepare.load import load_splits
    from research.model.encoders import load_tokenizer

    source = load_splits(RunConfig(data="imdb" if task == "imdb" else "rotten_tomatoes"))
    names = source.task.label_names
    generator = np.random.default_rng(0)
    partial = folder.with_name(folder.name + ".partial")
    partial.mkdir(parents=True, exist_ok=True)
    for split, num_rows in NUM_ROWS[task].items():
        rows = getattr(source, split)
        texts, labels = list(rows["text"]), [names[label] for label in rows["label"]]
        if task == "imdb":
            ids = tokenize_texts(load_tokenizer("minilm"), texts, "")
            kept = [index for index, of_text in enumerate(ids) if len(of_text) > 510]
        else:
            texts = [surround(text, generator) for text in texts]
            kept = list(range(len(texts)))
        kept = generator.permutation(kept).tolist()
        with (partial / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            writer.writerows([texts[index], labels[index]] for index in kept[:num_rows])
    partial.rename(folder)


def surround(review: str, generator: np.random.Generator) -> str:
    """Return a review between neutral sentences in random order."""

    def neutral() -> str:
        return " ".join(generator.permutation(NEUTRAL)[:NUM_NEUTRAL])

    return f"{neutral()} {MARKER} {review} {neutral()}"


def measure(folder: Path, task: str, arm: str, seed: int, seconds: float) -> None:
    """Train one run, and append its result."""
    hook = CpuTimeLimit(seconds)
    config = RunConfig(
        data=str(folder / f"data-{task}"),
        encoder="minilm",
        head="attention",
        freeze=["encoder"],
        timeline=[{"at": "0%", "unfreeze": "encoder.layer[-2:]"}],
        max_length=LENGTHS[task],
        batch_size=16,
        epochs=100,
        schedule="constant",
        warmup="5st",
        lr=2e-4,
        evaluate_every=None,
        evaluation_batch_size=16,
        cache_features=False,
        mixed_precision="bf16",
        num_threads=1,
        seed=seed,
        report=False,
        log_with=[],
        output_dir=str(folder / task / f"{arm}-{seed}"),
        overwrite=True,
        **ARMS[arm],
    )
    result = run_experiment(config, hooks=[hook])
    line = {
        "task": task,
        "arm": arm,
        "seed": seed,
        "accuracy": result["metrics"]["test"]["accuracy"],
        "loss": result["metrics"]["test"]["loss"],
        "examples": hook.num_examples,
        "cpu_seconds": hook.used,
        "peak_memory_mib": result["peak_memory_bytes"] / 2**20,
    }
    with (folder / "results.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def read(folder: Path, task: str) -> list[dict[str, Any]]:
    """Return the results of a task."""
    path = folder / "results.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [result for result in map(json.loads, lines) if result["task"] == task]


def print_table(results: list[dict[str, Any]]) -> None:
    """Print the means over seeds."""
    print("| arm | seeds | test accuracy | test loss | examples trained on | CPU seconds | peak memory, MiB |")
    print("|---|---|---|---|---|---|---|")
    for arm in ARMS:
        of_arm = [result for result in results if result["arm"] == arm]
        if of_arm:
            print(f"| `{arm}` | {len(of_arm)} | {' | '.join(describe(of_arm))} |")


def describe(results: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the columns of an arm, as mean and standard deviation over seeds."""
    for name, digits in (("accuracy", 3), ("loss", 3), ("examples", 0), ("cpu_seconds", 0), ("peak_memory_mib", 0)):
        values = [result[name] for result in results]
        deviation = f" ± {statistics.stdev(values):,.{digits}f}" if len(values) > 1 else ""
        yield f"{statistics.mean(values):,.{digits}f}{deviation}"


if __name__ == "__main__":
    main()

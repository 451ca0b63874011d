"""Measure the peak memory of data preparation, which must not grow with the number of rows.

The script writes synthetic csv files, prepares each in a new process (load, split, tokenize, and collate some batches),
and prints a table.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

_WORDS = ("the", "film", "plot", "scene", "actor", "story", "score", "camera", "joke", "ending", "good", "bad", "dull")
_NUM_BATCHES = 50


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rows",
        type=int,
        nargs="+",
        default=[25_000, 1_000_000],
        help="rows of each data set (default: 25000 1000000)",
    )
    parser.add_argument("--words", type=int, default=20, help="words per text (default: %(default)s)")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        print(json.dumps(measure(arguments.measure)))
        return
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for num_rows in arguments.rows:
            path = Path(folder) / f"{num_rows}.csv"
            # Written in a separate process, since the measured child process inherits the peak memory of this one.
            writer = multiprocessing.get_context("spawn").Process(
                target=write_rows, args=(path, num_rows, arguments.words)
            )
            writer.start()
            writer.join()
            command = [sys.executable, __file__, "--measure", str(path)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            results.append(json.loads(output.splitlines()[-1]) | {"rows": num_rows, "file": path.stat().st_size})
            path.unlink()
    print_table(results)


def write_rows(path: Path, num_rows: int, num_words: int) -> None:
    """Write a csv file of random texts."""
    generator = np.random.default_rng(0)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for row in range(num_rows):
            writer.writerow([" ".join([str(row), *generator.choice(_WORDS, num_words)]), row % 2])


def measure(path: Path) -> dict[str, float]:
    """Prepare a file and collate batches; return the seconds of preparation, and peak memory in MiB after each part."""
    from research.data.batches.collate import Collator
    from research.data.batches.tokens import tokenize_splits
    from research.data.prepare.load import load_splits
    from research.model.encoders import load_tokenizer
    from research.settings.config import DataSettings

    tokenizer = load_tokenizer("minilm")
    before = read_peak_memory()
    start = time.perf_counter()
    splits = load_splits(DataSettings(data=str(path)), path.with_suffix(".cache"))
    tokens = tokenize_splits(splits, tokenizer)
    seconds = time.perf_counter() - start
    prepared = read_peak_memory()
    collator = Collator(tokenizer, splits.task, max_length=128, truncation="head_tail", pair=False)
    generator = np.random.default_rng(0)
    for _ in range(_NUM_BATCHES):
        collator(tokens.train[generator.integers(len(tokens.train), size=32)])
    return {"seconds": seconds, "before": before, "prepared": prepared, "batches": read_peak_memory()}


def read_peak_memory() -> float:
    """Return the peak resident memory of this process plus that of its largest child, in MiB."""
    kilobytes = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return kilobytes / 1024


def print_table(results: list[dict[str, float]]) -> None:
    """Print a Markdown table with one line per data set."""
    print(
        "| rows | file, MiB | seconds | peak before preparing, MiB | peak after preparing, MiB | growth, MiB "
        f"| peak after {_NUM_BATCHES} batches, MiB |"
    )
    print("|---|---|---|---|---|---|---|")
    for result in results:
        print(
            f"| {result['rows']:,} | {result['file'] / 2**20:.0f} | {result['seconds']:.1f} | {result['before']:.0f} | "
            f"{result['prepared']:.0f} | {result['prepared'] - result['before']:.0f} | {result['batches']:.0f} |"
        )


if __name__ == "__main__":
    main()

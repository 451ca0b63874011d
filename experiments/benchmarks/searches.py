"""Compare a search with pruning with random search on the same budget of time, on real reviews.

    python experiments/benchmarks/searches.py runs/searches

Each repetition has its own search seed. The first search tries a fixed number of configurations with TPE and a pruner.
Random search without a pruner then gets as many hours of trials as the first search used. Both are confirmed: their
best configuration and the defaults run with new seeds, and are scored on the test rows.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import subprocess
import sys
from pathlib import Path

ABLATE = Path(__file__).parents[1] / "ablate.py"
SPACE = (
    "head_lr=1e-5..1e-1:log",
    "head=linear,mean,attention,mlp",
    "head.dropout=0..0.5",
    "weight_decay=1e-4..1e-1:log",
)
BASE = ("--data=imdb", "--encoder=minilm", "--freeze=encoder", "--evaluate_every=10%", "--log_with=[]")


def run_search(folder: Path, flags: list[str], options: argparse.Namespace) -> list[dict[str, str]]:
    """Run a search and its confirmation, and return the rows of the search's results.csv."""
    size = [f"--max_length={options.max_length}", f"--epochs={options.epochs}", f"--limit_train={options.rows}"]
    size += [f"--limit_validation={options.validation_rows}", f"--limit_test={options.test_rows}"]
    command = [sys.executable, str(ABLATE), "--search", *SPACE, *BASE, *size, "--output_dir", str(folder)]
    subprocess.run([*command, f"--name={folder.name}", f"--confirm=1x{options.seeds}", *flags], check=True)
    return read_rows(folder)


def read_rows(folder: Path) -> list[dict[str, str]]:
    """Return the rows of a results.csv."""
    with (folder / "results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def describe(name: str, folder: Path, rows: list[dict[str, str]]) -> str:
    """Return a row of the table: what was tried, the best validation accuracy, and test accuracies over new seeds."""
    finished = [row for row in rows if row["status"] == "finished"]
    hours = sum(float(row["seconds"]) for row in rows) / 3600
    best = max(float(row["validation/accuracy"]) for row in finished)
    tests: dict[str, list[float]] = {}
    for row in read_rows(folder / "confirm"):
        tests.setdefault(row["arm"], []).append(float(row["test/accuracy"]))
    means = "; ".join(f"{arm}: {statistics.fmean(values):.4f}" for arm, values in tests.items())
    return f"| {name} | {len(rows)} ({len(rows) - len(finished)} pruned) | {hours:.3f} | {best:.4f} | {means} |"


def main() -> None:
    """Run all searches and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder for the searches; finished trials are not repeated")
    parser.add_argument("--trials", type=int, default=40, help="configurations of the first search (default: 40)")
    parser.add_argument("--repetitions", type=int, default=3, help="search seeds (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=5, help="seeds of a confirmation (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=1000, help="training reviews (default: %(default)s)")
    parser.add_argument("--validation_rows", type=int, default=500, help="validation reviews (default: %(default)s)")
    parser.add_argument("--test_rows", type=int, default=2000, help="test reviews (default: %(default)s)")
    parser.add_argument("--max_length", type=int, default=128, help="tokens (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=5, help="epochs of a trial (default: %(default)s)")
    options = parser.parse_args()
    table = [
        "| search | configurations | hours | best validation accuracy | mean test accuracy with new seeds |",
        "|---|---|---|---|---|",
    ]
    for seed in range(options.repetitions):
        pruned = options.folder / f"pruned-{seed}"
        flags = [f"--trials={options.trials}", "--pruner=median", f"--search_seed={seed}"]
        rows = run_search(pruned, flags, options)
        table.append(describe(f"TPE, median pruner, seed {seed}", pruned, rows))
        hours = sum(float(row["seconds"]) for row in rows) / 3600
        random = options.folder / f"random-{seed}"
        rows = run_search(random, [f"--hours={hours:.5f}", "--sampler=random", f"--search_seed={seed}"], options)
        table.append(describe(f"random, seed {seed}", random, rows))
    print("\n".join(table))


if __name__ == "__main__":
    main()

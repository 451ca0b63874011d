"""What does dropout of attention weights do to accuracy, and what does it cost?

python experiments/benchmarks/attention_dropout.py runs/attention_dropout
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from trials import grid, mean_and_spread, run_trials

ARMS = {"without": {"attention_dropout": 0.0}, "with 0.1": {"attention_dropout": 0.1}}


def main() -> None:
    """Run the trials and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the runs lie; finished ones are not run again")
    parser.add_argument("--rows", type=int, default=4000, help="training reviews (default: 4000)")
    parser.add_argument("--max_length", type=int, default=256, help="tokens (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, which share the cores (default: 1)")
    options = parser.parse_args()
    base = {"head": "mean", "limit_train": options.rows, "max_length": options.max_length, "evaluate_every": "null"}
    results = run_trials(grid(ARMS, seed=options.seeds), options.folder, base, jobs=options.jobs)
    print("\n| attention dropout | test accuracy over seeds | training, s (median) |\n|---|---|---|")
    for arm in ARMS:
        found = [result for trial, result in results.items() if trial.arm == arm]
        accuracies = [result["metrics"]["test"]["accuracy"] for result in found]
        seconds = statistics.median(result["train_seconds"] for result in found)
        print(f"| {arm} | {mean_and_spread(accuracies)} | {seconds:.0f} |")


if __name__ == "__main__":
    main()

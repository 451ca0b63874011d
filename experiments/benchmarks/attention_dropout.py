"""Measure the effect of attention dropout on accuracy and on training time.

    python experiments/benchmarks/attention_dropout.py runs/attention_dropout

The table shows the test accuracy (mean and standard deviation over seeds) and the median training time.
"""

from __future__ import annotations

import statistics

from trials import build_trial_parser, expand_grid, format_mean_and_spread, run_trials

ARMS = {"without": {"attention_dropout": 0.0}, "with 0.1": {"attention_dropout": 0.1}}


def main() -> None:
    """Run the trials and print the table."""
    parser = build_trial_parser(__doc__)
    parser.add_argument("--max_length", type=int, default=256, help="maximum tokens per text (default: %(default)s)")
    options = parser.parse_args()
    base = {"head": "mean", "limit_train": options.rows, "max_length": options.max_length, "evaluate_every": "null"}
    results = run_trials(
        expand_grid(ARMS, seed=options.seeds),
        options.folder,
        base,
        jobs=options.jobs,
        num_processes=options.num_processes,
    )
    print("\n| attention dropout | test accuracy over seeds | training, s (median) |\n|---|---|---|")
    for arm in ARMS:
        arm_results = [result for trial, result in results.items() if trial.arm == arm]
        accuracies = [result["metrics"]["test"]["accuracy"] for result in arm_results]
        seconds = statistics.median(result["train_seconds"] for result in arm_results)
        print(f"| {arm} | {format_mean_and_spread(accuracies)} | {seconds:.0f} |")


if __name__ == "__main__":
    main()

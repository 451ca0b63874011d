"""Compare recipes that edit the model midway with a run without edits, over several seeds.

    python experiments/benchmarks/edits.py runs/edits --jobs 2

The table shows the test accuracy (mean and standard deviation over seeds), the time of the training steps relative to
the run without edits (`plain`) with the same seed, and the number of trainable parameters: in the last step, and on
average over steps. Without the arm `plain`, times are relative to the first arm.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path

from trials import build_trial_parser, expand_grid, format_mean_and_spread, run_trials

RECIPES = Path(__file__).parent.parent / "recipes"
ARMS = ("plain", "head_swap", "gradual_unfreezing", "head_then_all", "length_warmup")


def main() -> None:
    """Run the trials and print the table."""
    parser = build_trial_parser(__doc__)
    parser.add_argument("--max_length", type=int, default=128, help="maximum tokens per text (default: %(default)s)")
    parser.add_argument("--arms", nargs="+", default=ARMS, help=f"`plain` and recipes (default: {' '.join(ARMS)})")
    options = parser.parse_args()
    base = {
        "limit_train": options.rows,
        "limit_test": 5000,
        "max_length": options.max_length,
        "evaluate_every": "null",
        "log_every": 1,
    }
    arms = {arm: {} if arm == "plain" else {"recipe": RECIPES / f"{arm}.yaml"} for arm in options.arms}
    trials = expand_grid(arms, seed=options.seeds)
    results = run_trials(trials, options.folder, base, jobs=options.jobs, num_processes=options.num_processes)
    seconds = {(trial.arm, trial.settings["seed"]): result["train_seconds"] for trial, result in results.items()}
    reference = "plain" if "plain" in options.arms else options.arms[0]
    print(f"\n| recipe | test accuracy | time / {reference} | trainable parameters, last step | mean over steps |")
    print("|---|---|---|---|---|")
    for arm in arms:
        arm_results = {trial: result for trial, result in results.items() if trial.arm == arm}
        accuracies = [result["metrics"]["test"]["accuracy"] for result in arm_results.values()]
        ratios = [seconds[arm, seed] / seconds[reference, seed] for seed in options.seeds]
        trainable_by_step = [
            json.loads(line)["trainable_parameters"]
            for trial in arm_results
            for line in (options.folder / trial.name / "metrics.jsonl").read_text().splitlines()
        ]
        trainable_at_end = next(iter(arm_results.values()))["trainable_parameters"]
        print(
            f"| {arm} | {format_mean_and_spread(accuracies)} | {format_mean_and_spread(ratios)} | "
            f"{trainable_at_end:,} | {statistics.mean(trainable_by_step):,.0f} |"
        )


if __name__ == "__main__":
    main()

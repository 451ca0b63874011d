"""Does it matter that a schedule is stepped on every batch? Compare one cycle per batch, per epoch, and a constant.

    python experiments/benchmarks/schedules.py runs/schedules

Each schedule runs at three rates with the first seed; the rate with the best validation accuracy runs with all seeds.
The table gives test accuracy, mean and standard deviation over seeds. Runs take three epochs, since a schedule that is
stepped per epoch never changes within one. Encoder and head have the same learning rate.
"""

from __future__ import annotations

from trials import Trial, grid, mean_and_spread, run_trials, trial_parser

ARMS = {
    "one cycle, per batch": {"schedule": "one_cycle"},
    "one cycle, per epoch": {"schedule": "one_cycle", "schedule_interval": "epoch"},
    "constant": {"schedule": "constant", "warmup": "0st"},
}
RATES = (3e-5, 1e-4, 3e-4)


def main() -> None:
    """Run the trials and print the table."""
    parser = trial_parser(__doc__)
    parser.add_argument("--epochs", type=float, default=3.0, help="default: 3")
    parser.add_argument("--max_length", type=int, default=128, help="tokens (default: %(default)s)")
    options = parser.parse_args()
    base = {
        "head": "mean",
        "head_lr": "null",
        "limit_train": options.rows,
        "epochs": options.epochs,
        "max_length": options.max_length,
        "evaluate_every": "null",
    }
    chosen = run_trials(
        grid(ARMS, lr=RATES, seed=options.seeds[:1]),
        options.folder,
        base,
        jobs=options.jobs,
        num_processes=options.num_processes,
    )
    print("\n| schedule | rate | validation accuracy | test accuracy over seeds |\n|---|---|---|---|")
    lines = []
    for arm, settings in ARMS.items():
        arm_results = {trial: result for trial, result in chosen.items() if trial.arm == arm}
        best = max(arm_results, key=lambda trial: arm_results[trial]["metrics"]["validation"]["accuracy"])
        trials = [Trial(arm, {**settings, "lr": best.settings["lr"], "seed": seed}) for seed in options.seeds]
        results = run_trials(trials, options.folder, base, jobs=options.jobs, num_processes=options.num_processes)
        accuracies = [result["metrics"]["test"]["accuracy"] for result in results.values()]
        validation = arm_results[best]["metrics"]["validation"]["accuracy"]
        lines.append(f"| {arm} | {best.settings['lr']:g} | {validation:.4f} | {mean_and_spread(accuracies)} |")
    print("\n".join(lines))


if __name__ == "__main__":
    main()

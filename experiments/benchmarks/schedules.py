"""Compare a one-cycle schedule stepped after every batch, one stepped after every epoch, and a constant schedule.

    python experiments/benchmarks/schedules.py runs/schedules

Each schedule first runs at three peak learning rates with the first seed. The rate with the best validation accuracy
then runs with all seeds. The table shows the mean and standard deviation of the test accuracy over seeds. Runs take
three epochs by default, since a schedule that is stepped per epoch is constant within an epoch. Encoder and head have
the same learning rate.
"""

from __future__ import annotations

from trials import Trial, build_trial_parser, expand_grid, format_mean_and_spread, run_trials

ARMS = {
    "one cycle, per batch": {"schedule": "one_cycle"},
    "one cycle, per epoch": {"schedule": "one_cycle", "schedule_interval": "epoch"},
    "constant": {"schedule": "constant", "warmup": "0st"},  # 0 steps: no warm-up
}
RATES = (3e-5, 1e-4, 3e-4)
"""Peak learning rates."""


def main() -> None:
    """Run the trials and print the table."""
    parser = build_trial_parser(__doc__)
    parser.add_argument("--epochs", type=float, default=3.0, help="epochs of each run (default: 3)")
    parser.add_argument("--max_length", type=int, default=128, help="maximum tokens per text (default: %(default)s)")
    options = parser.parse_args()
    base = {
        "head": "mean",
        "head_lr": "null",
        "limit_train": options.rows,
        "epochs": options.epochs,
        "max_length": options.max_length,
        "evaluate_every": "null",
    }
    tuning_results = run_trials(
        expand_grid(ARMS, lr=RATES, seed=options.seeds[:1]),
        options.folder,
        base,
        jobs=options.jobs,
        num_processes=options.num_processes,
    )
    print("\n| schedule | peak learning rate | validation accuracy | test accuracy over seeds |\n|---|---|---|---|")
    lines = []
    for arm, settings in ARMS.items():
        arm_results = {trial: result for trial, result in tuning_results.items() if trial.arm == arm}
        best = max(arm_results, key=lambda trial: arm_results[trial]["metrics"]["validation"]["accuracy"])
        trials = [Trial(arm, {**settings, "lr": best.settings["lr"], "seed": seed}) for seed in options.seeds]
        results = run_trials(trials, options.folder, base, jobs=options.jobs, num_processes=options.num_processes)
        accuracies = [result["metrics"]["test"]["accuracy"] for result in results.values()]
        validation = arm_results[best]["metrics"]["validation"]["accuracy"]
        lines.append(f"| {arm} | {best.settings['lr']:g} | {validation:.4f} | {format_mean_and_spread(accuracies)} |")
    print("\n".join(lines))


if __name__ == "__main__":
    main()

"""Check by simulation whether comparisons of arms have the promised error rates, using predictions of real runs.

    python experiments/benchmarks/calibration.py runs/one-arm/trials

The folder must hold finished runs of one arm, which differ only in their seeds. The script trains nothing.

False alarms: each simulated study compares the arm with itself. For each seed of a study, every arm gets a randomly
drawn run, and no two arms get the same one, so no run is compared with itself. Runs are drawn again for each seed, so
the draws are independent, as the t test assumes. A study may also have more seeds than there are runs. All arms of a
study are measured on the same bootstrap sample of the test rows, and each study has its own sample. Without the
bootstrap, all studies would use the same few accuracies, one per run. (The runs' accuracies differ more on bootstrapped
rows than on the real rows, so the power in the last table is not a forecast for real studies.)

Studies draw from a small number of runs. Two columns of the table show the effect of that:

- `total error`: the simulation is repeated on random halves of the runs. The standard deviation of the results
  estimates the standard error from both causes, the choice of runs and the simulation.
- `control`: the same simulation with normal random numbers instead of accuracies, one number per run and study. For
  normally distributed differences, the t test is exact. So if the control for studies with one comparison differs from
  5% by more than the error of the simulation, the cause is the small number of runs. (With 5 seeds, the control is 0.4
  points too high with 12 runs, 0.2 with 24, and not visibly too high with 50.) With several comparisons, Holm's
  correction contributes too, since it does not account for the shared baseline.

Second opinions: the same studies of two arms, judged by the Wilcoxon signed-rank test and by almost stochastic order
(ASO), for which a difference counts if the upper bound of the violation ratio is below the threshold, in either
direction. At most MAX_ORDERED studies are judged, because each bound needs a bootstrap.

Best arm: after a study has been seen, its best arm is compared with all others. The table shows how often studies whose
arms are all the same find a difference between the best arm and any other one, and between the best and the runner-up.
No correction accounts for choosing the best arm, so that alarms are more frequent than 5%; reports call these
comparisons exploratory.

Intervals: how often the 95% confidence interval of an arm's mean contains the mean of all runs. The table compares the
interval by Student's t with the interval on the logit scale, which Midway uses for metrics from 0 to 1. The table also
has lines for accuracies near 1, drawn from a beta distribution.

Power: each simulated study compares the arm with a better one, in which every wrong prediction of the arm is corrected
with probability q, so that the expected accuracy rises by q x (1 - accuracy). `seeds_needed` gets this difference and
the standard deviation of paired differences (measured in additional simulated studies), and returns a number of seeds
and the power promised for it. The table compares the promised power with the share of simulated studies, each with that
number of seeds, that find the effect. An effect counts as found if its p value is at most 5% divided by the number of
comparisons, the level that Holm's correction applies to the smallest p value.

The script calls Midway's own tests (`paired_t`, `holm`, `seeds_needed`, McNemar, bootstrap).
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import statistics
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import yaml

from research.records.predictions_file import predictions_path
from research.settings.config import RunConfig
from research.settings.forks import read_settings
from research.settings.run_files import CONFIG, RESULT
from research.studies.report.rows import find_task
from research.studies.statistics.bounded import bounded_interval
from research.studies.statistics.over_rows import Bools, bootstrap_rows, compare_models
from research.studies.statistics.over_seeds import holm
from research.studies.statistics.paired_t import LEVEL, Floats, paired_t
from research.studies.statistics.power import MIN_SEEDS, seeds_needed
from research.studies.statistics.predictions import read_predictions
from research.studies.statistics.second_opinions import order_stochastically, signed_rank_p

SEED_COUNTS = (5, 8, 10)
"""Numbers of seeds of the simulated studies."""
EFFECTS = (0.5, 0.75, 1.0, 1.5)
"""Sizes of the simulated effect, in standard deviations of the difference between two runs of the arm."""
NUM_HALVES = 20
"""Number of random halves of the runs on which the simulation is repeated."""
MAX_PAIRS = 200
"""Maximum number of pairs of runs, or pairs of groups of runs, that the tests over rows compare."""
NUM_RESAMPLES = 999
"""Number of samples of each bootstrap over rows."""
MAX_ORDERED = 2000
"""Maximum number of studies whose arms are ordered stochastically."""
TOLERANCE = 0.05
"""Largest accepted difference between the measured and the promised power."""


def find_runs(folder: Path) -> list[Path]:
    """Return the finished runs of a folder.

    Raises:
        ValueError: if the runs differ in more than their seeds, or if two have the same seed.
    """
    runs, settings, seeds = [], [], []
    for path in sorted(folder.glob(f"*/{RESULT}")):
        if json.loads(path.read_text(encoding="utf-8"))["status"] != "finished":
            print(f"skipped, not finished: {path.parent}")
            continue
        config = yaml.safe_load((path.parent / CONFIG).read_text(encoding="utf-8"))
        runs.append(path.parent)
        seeds.append(config.pop("seed"))
        settings.append(config)
        if different := [name for name in config if config[name] != settings[0].get(name)]:
            raise ValueError(f"Expected runs of one arm; {runs[0]} and {runs[-1]} differ in {', '.join(different)}.")
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"Expected each seed once in {folder}; got {sorted(seeds)}.")
    return runs


def read_correct(runs: list[Path], split: str) -> Bools:
    """Return which rows of a split each run predicts correctly, [num_runs, num_rows].

    Raises:
        ValueError: if predictions of the task cannot be judged right or wrong, as in regression.
    """
    predictions = read_predictions([predictions_path(run, split) for run in runs])
    config = RunConfig(**read_settings(runs[0] / CONFIG, "a run of the arm"))
    return predictions.are_correct(find_task(config, predictions.labels))


def sample_accuracies(correct: Bools, num_studies: int, rng: np.random.Generator) -> Floats:
    """Return each run's accuracy on each study's bootstrap sample of the rows, [num_studies, num_runs].

    Args:
        correct: rows that each run predicts correctly, [num_runs, num_rows].
        num_studies: number of samples.
        rng: generator that draws the samples.
    """
    num_rows = correct.shape[1]
    uniform = np.full(num_rows, 1 / num_rows)
    # In chunks: how often each row is drawn, for all studies at once, would take gigabytes with many thousands of rows.
    chunks = [rng.multinomial(num_rows, uniform, size=min(500, num_studies - i)) for i in range(0, num_studies, 500)]
    return np.concatenate([chunk @ correct.T.astype(np.float64) for chunk in chunks]) / num_rows


def draw_studies(accuracies: Floats, num_arms: int, num_seeds: int, rng: np.random.Generator) -> Floats:
    """Return accuracies of studies that compare an arm with itself, [num_studies, num_arms, num_seeds].

    Args:
        accuracies: accuracy of each run on each study's sample of rows, [num_studies, num_runs].
        num_arms: number of arms of a study; for each seed, every arm gets a different run.
        num_seeds: number of seeds of a study.
        rng: generator that draws the runs.
    """
    by_seed = []
    for _ in range(num_seeds):
        runs = rng.random(accuracies.shape).argsort(axis=1)[:, :num_arms]
        by_seed.append(np.take_along_axis(accuracies, runs, axis=1))
    return np.stack(by_seed, axis=-1)


def find_alarms(accuracies: Floats, num_comparisons: int, num_seeds: int, rng: np.random.Generator) -> Bools:
    """Return, for each study, whether it finds a difference between any arm and the baseline, [num_studies]."""
    studies = draw_studies(accuracies, num_comparisons + 1, num_seeds, rng)
    p = paired_t(studies[:, 1:], studies[:, :1]).p
    alarms = np.asarray((p <= LEVEL).any(axis=1))
    # Holm's correction never lowers a p value, so it cannot change studies whose p values are all above the level.
    alarms[alarms] = [min(holm(each)) <= LEVEL for each in p[alarms]]
    return alarms


def standard_error(share: float, num_studies: int) -> float:
    """Return the standard error of a share of simulated studies."""
    return float(np.sqrt(share * (1 - share) / num_studies))


def false_alarm_table(accuracies: Floats, num_comparisons: int, rng: np.random.Generator) -> Iterator[str]:
    """Yield the lines of a table: how often studies that compare the arm with itself find a difference."""
    num_studies, num_runs = accuracies.shape
    halves = [rng.permutation(num_runs)[: num_runs // 2] for _ in range(NUM_HALVES)]
    yield "| comparisons | seeds | studies with an alarm | error of the simulation | total error | control |"
    yield "|---|---|---|---|---|---|"
    for number, num_seeds in itertools.product((1, num_comparisons), SEED_COUNTS):
        share = find_alarms(accuracies, number, num_seeds, rng).mean()
        control = find_alarms(rng.normal(size=accuracies.shape), number, num_seeds, rng).mean()
        total_error = "-"
        if number < num_runs // 2:  # otherwise a half has too few runs for the arms
            shares = [find_alarms(accuracies[:, half], number, num_seeds, rng).mean() for half in halves]
            total_error = f"{np.std(shares, ddof=1):.2%}"
        error = standard_error(share, num_studies)
        yield f"| {number} | {num_seeds} | {share:.2%} | {error:.2%} | {total_error} | {control:.2%} |"


def second_opinions_table(accuracies: Floats, rng: np.random.Generator) -> Iterator[str]:
    """Yield the lines of a table: how often further tests find a difference between an arm and itself."""
    yield "| seeds | paired t | Wilcoxon signed-rank | ASO < 0.5 | ASO < 0.2 | studies |"
    yield "|---|---|---|---|---|---|"
    for num_seeds in SEED_COUNTS:
        studies = draw_studies(accuracies[:MAX_ORDERED], 2, num_seeds, rng)
        orders = [order_stochastically(arm, baseline) for arm, baseline in studies]
        shares = [
            float((paired_t(studies[:, 0], studies[:, 1]).p <= LEVEL).mean()),
            statistics.fmean(signed_rank_p(arm, baseline) <= LEVEL for arm, baseline in studies),
            *(
                statistics.fmean(order.high < limit or order.low > 1 - limit for order in orders)
                for limit in (0.5, 0.2)
            ),
        ]
        yield f"| {num_seeds} | {' | '.join(f'{share:.1%}' for share in shares)} | {len(studies):,} |"


def best_arm_table(accuracies: Floats, num_comparisons: int, rng: np.random.Generator) -> Iterator[str]:
    """Yield the lines of a table: how often a study of equal arms finds that its best arm differs from another."""
    yield "| arms | seeds | the best differs from any other arm | the best differs from the runner-up |"
    yield "|---|---|---|---|"
    for num_arms, num_seeds in itertools.product((3, num_comparisons + 1), SEED_COUNTS):
        studies = draw_studies(accuracies, num_arms, num_seeds, rng)
        ranked = np.take_along_axis(studies, (-studies.mean(axis=-1)).argsort(axis=1)[..., None], axis=1)
        p = paired_t(ranked[:, 1:], ranked[:, :1]).p
        # Holm's correction multiplies the lowest p value by their number, so only some studies can have an alarm.
        may_alarm = p.min(axis=1) * p.shape[1] <= LEVEL
        corrected = np.ones_like(p)
        corrected[may_alarm] = [holm(each) for each in p[may_alarm]]
        yield (
            f"| {num_arms} | {num_seeds} | {(corrected <= LEVEL).any(axis=1).mean():.1%} | "
            f"{(corrected[:, 0] <= LEVEL).mean():.1%} |"
        )


def coverage_table(accuracies: Floats, rng: np.random.Generator) -> Iterator[str]:
    """Yield the lines of a table: how often 95% intervals of an arm's mean contain the true mean, and how often the t
    intervals leave [0, 1].

    Args:
        accuracies: accuracy of each run on each study's sample of rows, [num_studies, num_runs]; the true mean of a
            study is the mean of all runs.
        rng: generator that draws runs, and accuracies near 1.
    """
    num_studies = len(accuracies)
    max_seeds = max(SEED_COUNTS)
    runs = rng.integers(accuracies.shape[1], size=(num_studies, max_seeds))
    near_one = rng.beta(*_beta_parameters(0.98, 0.02), size=(num_studies, max_seeds))
    populations = {
        "the runs": (np.take_along_axis(accuracies, runs, axis=1), accuracies.mean(axis=1)),
        "beta, 0.98 ± 0.02": (near_one, np.full(num_studies, 0.98)),
    }
    yield "| accuracies | seeds | Student's t | t interval leaves [0, 1] | logit scale |"
    yield "|---|---|---|---|---|"
    for (name, (values, means)), num_seeds in itertools.product(populations.items(), (3, *SEED_COUNTS)):
        test = paired_t(values[:, :num_seeds], 0.0)
        has_interval = test.std > 0
        logit_low, logit_high = bounded_interval(test.mean, (test.high - test.low) / 2, (0.0, 1.0))
        by_t, by_logit = (
            ((low <= means) & (means <= high))[has_interval].mean()
            for low, high in ((test.low, test.high), (logit_low, logit_high))
        )
        outside = ((test.low < 0) | (test.high > 1))[has_interval].mean()
        yield f"| {name} | {num_seeds} | {by_t:.1%} | {outside:.1%} | {by_logit:.1%} |"


def _beta_parameters(mean: float, std: float) -> tuple[float, float]:
    """Return the parameters alpha and beta of the beta distribution with a given mean and standard deviation."""
    concentration = mean * (1 - mean) / std**2 - 1
    return mean * concentration, (1 - mean) * concentration


def rows_table(correct: Bools, rng: np.random.Generator) -> Iterator[str]:
    """Yield the lines of a table: how often tests over rows find a difference between runs of the same arm."""
    num_runs = len(correct)
    pairs = rng.permutation(list(itertools.combinations(range(num_runs), 2)))[:MAX_PAIRS]
    groups = [rng.permutation(num_runs)[: 2 * MIN_SEEDS].reshape(2, MIN_SEEDS) for _ in pairs]
    results = {
        "McNemar, 1 run against 1": [compare_models(*correct[pair]).p <= LEVEL for pair in pairs],
        "bootstrap over rows, 1 run against 1": [_excludes_zero(correct[pair][:, None]) for pair in pairs],
        f"bootstrap over rows, {MIN_SEEDS} runs against {MIN_SEEDS}": [
            _excludes_zero(correct[group]) for group in groups
        ],
    }
    yield "| test over rows | comparisons with a difference |"
    yield "|---|---|"
    for name, alarms in results.items():
        yield f"| {name} | {np.mean(alarms):.1%} of {len(alarms)} |"


def _excludes_zero(correct: Bools) -> bool:
    """Return whether the bootstrap of two groups of runs, [2, num_runs, num_rows], finds a difference."""
    low, high = bootstrap_rows(correct[0], correct[1], num_resamples=NUM_RESAMPLES).interval
    return not low <= 0 <= high


def draw_arm_and_baseline(
    accuracies: Floats, num_rows: int, q: float, num_seeds: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Return accuracies of the arm with corrected predictions and of the unchanged arm, each [num_studies, num_seeds].

    Args:
        accuracies: accuracy of each run on each study's sample of rows, [num_studies, num_runs].
        num_rows: number of rows of a sample.
        q: probability that a wrong prediction is corrected.
        num_seeds: number of seeds of a study.
        rng: generator that draws runs and corrections.
    """
    arm, baseline = np.moveaxis(draw_studies(accuracies, 2, num_seeds, rng), 1, 0)
    num_wrong = np.rint(num_rows * (1 - arm)).astype(np.int64)
    return arm + rng.binomial(num_wrong, q) / num_rows, baseline


def power_table(accuracies: Floats, num_rows: int, num_comparisons: int, rng: np.random.Generator) -> Iterator[str]:
    """Yield the lines of a table: the promised power, and the share of studies that find the effect."""
    yield "| effect | q | comparisons | seeds | power promised | found | error of the simulation | within 5 points |"
    yield "|---|---|---|---|---|---|---|---|"
    error_rate = 1 - accuracies.mean()
    spread = _std_of_differences(accuracies, num_rows, q=0.0, rng=rng)
    for effect, number in itertools.product(EFFECTS, (1, num_comparisons)):
        q = effect * spread / error_rate
        if q > 1:
            yield f"| {effect * spread:+.2%} | impossible: q > 1 | | | | | | |"
            continue
        std = _std_of_differences(accuracies, num_rows, q, rng)
        # No seeds have been run yet.
        needed = seeds_needed(effect * spread, std, num_seeds=0, num_comparisons=number)
        line = f"| {effect * spread:+.2%} | {q:.3f} | {number} |"
        if needed.total is None or needed.power is None:
            yield f"{line} {needed.description} | | | | |"
            continue
        test = paired_t(*draw_arm_and_baseline(accuracies, num_rows, q, needed.total, rng))
        power = ((test.p <= needed.level) & (test.mean > 0)).mean()
        error = standard_error(power, len(accuracies))
        is_close = "yes" if abs(power - needed.power) <= TOLERANCE else "NO"
        yield f"{line} {needed.total} | {needed.power:.1%} | {power:.1%} | {error:.1%} | {is_close} |"


def _std_of_differences(accuracies: Floats, num_rows: int, q: float, rng: np.random.Generator) -> float:
    """Return the standard deviation of paired differences within studies, measured in studies of 20 seeds."""
    arm, baseline = draw_arm_and_baseline(accuracies, num_rows, q, 20, rng)
    return float(np.sqrt((arm - baseline).var(axis=1, ddof=1).mean()))


def main() -> None:
    """Read the runs, simulate studies, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder with the run directories of the arm")
    parser.add_argument("--split", default="test", help="split whose predictions are used (default: test)")
    parser.add_argument(
        "--studies", type=int, default=10_000, help="simulated studies per line of a table (default: 10000)"
    )
    parser.add_argument(
        "--comparisons",
        type=int,
        default=9,
        help="comparisons per study: the number of arms besides the baseline (default: 9)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the simulation (default: 0)")
    options = parser.parse_args()
    runs = find_runs(options.folder)
    if len(runs) < (min_runs := max(options.comparisons + 1, 2 * MIN_SEEDS)):
        raise SystemExit(f"Expected at least {min_runs} finished runs in {options.folder}; got {len(runs)}.")
    correct = read_correct(runs, options.split)
    # `multipletests` of statsmodels, which `holm` calls, runs the garbage collector in every call: 30 ms with the
    # objects of all imported modules, 20 µs if these are frozen.
    gc.freeze()
    rng = np.random.default_rng(options.seed)
    accuracies = sample_accuracies(correct, options.studies, rng)
    run_accuracies = correct.mean(axis=1)
    print(
        f"{len(runs)} runs of one arm, {correct.shape[1]} {options.split} rows, accuracy {run_accuracies.mean():.4f} ± "
        f"{run_accuracies.std(ddof=1):.4f}; {options.studies} simulated studies per line.\n"
    )
    print("The arm compared with itself, paired t test over seeds with Holm's correction, at the 5% level:\n")
    print("\n".join(false_alarm_table(accuracies, options.comparisons, rng)), end="\n\n")
    print("The same, judged by the second opinions, for one comparison:\n")
    print("\n".join(second_opinions_table(accuracies, np.random.default_rng(options.seed))), end="\n\n")
    print(
        "Studies of equal arms: the best arm compared with each other arm (Holm's correction for these comparisons):\n"
    )
    print("\n".join(best_arm_table(accuracies, options.comparisons, np.random.default_rng(options.seed))), end="\n\n")
    print("Share of 95% intervals of an arm's mean that contain the true mean:\n")
    print("\n".join(coverage_table(accuracies, np.random.default_rng(options.seed))), end="\n\n")
    print("Runs of the arm compared by tests over rows (these compare trained models, not arms):\n")
    print("\n".join(rows_table(correct, rng)), end="\n\n")
    print("Power to find an effect of known size:\n")
    print("\n".join(power_table(accuracies, correct.shape[1], options.comparisons, rng)))


if __name__ == "__main__":
    main()

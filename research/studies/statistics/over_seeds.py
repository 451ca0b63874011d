"""Summaries and comparisons of arms over seeds or, in a study with folds, over seeds and folds.

These results are about the methods that a study compares, not only about the models that it happened to train. With
folds, everything called seeds here is a list of pairs, each a seed and a fold: seed 3 (fold 0).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, SupportsFloat

import numpy as np
from statsmodels.stats.multitest import multipletests

from research.studies.statistics.bounded import UNBOUNDED, bounded_interval
from research.studies.statistics.paired_t import LEVEL, paired_t
from research.studies.statistics.power import MIN_SEEDS, SeedsNeeded, seeds_needed
from research.studies.units import Unit, count_seeds
from research.system.plain_text import LONGEST_IN_PAGE, shorten

Interval = tuple[float, float]
Verdict = Literal["better", "worse", "no significant difference"]


@dataclass(frozen=True)
class ArmSummary:
    """Summary of a metric of one arm over its seeds."""

    arm: str
    """Name of the arm."""
    seeds: tuple[Unit, ...]
    """Seeds with a finite value, ascending. All other fields are computed from these seeds."""
    undefined_seeds: tuple[Unit, ...]
    """Seeds whose value is not a finite number, because the metric is not defined or the run diverged."""
    mean: float | None
    """Mean; None if there are no seeds."""
    std: float | None
    """Standard deviation (n - 1); None with fewer than two seeds."""
    interval: Interval | None
    """95% confidence interval of the mean, within the metric's range; None with fewer than two seeds, or if all values
    are equal."""
    remark: str
    """Which seeds were excluded, and why there is no interval; empty if neither applies."""


@dataclass(frozen=True)
class Comparison:
    """Comparison of one arm with the baseline: paired t test over their common seeds, corrected if there are folds."""

    arm: str
    """Name of the arm."""
    baseline: str
    """Name of the baseline."""
    seeds: tuple[Unit, ...]
    """Seeds with a finite value in both arms, ascending. The test is computed from these seeds."""
    seeds_of_arm_only: tuple[Unit, ...]
    """Seeds that the baseline does not have (yet)."""
    seeds_of_baseline_only: tuple[Unit, ...]
    """Seeds that the arm does not have (yet)."""
    undefined_seeds: tuple[Unit, ...]
    """Common seeds whose value is not a finite number in at least one of the two arms."""
    failed_seeds: tuple[Unit, ...]
    """Seeds whose trial failed in at least one of the two arms."""
    mean_difference: float | None
    """Mean of arm - baseline over the seeds, in units of the metric; None without a common seed."""
    std_difference: float | None
    """Standard deviation of the differences (n - 1); None with fewer than two common seeds."""
    interval: Interval | None
    """95% confidence interval of the mean difference (Student's t), clipped to the differences that the metric's range
    allows. It is not corrected for the number of comparisons. None with fewer than two common seeds, or if all
    differences are equal."""
    p: float | None
    """p value of the paired t test; 1 if both arms have the same values, None if there is no test."""
    p_holm: float | None
    """p value after Holm's correction for all comparisons of the study, including those without a test; None if this
    comparison has no test."""
    verdict: Verdict | None
    """Outcome of the test at the 5% level after Holm's correction; None if no verdict is given."""
    why_no_verdict: str
    """Why no verdict is given; empty if there is a verdict."""
    seeds_needed: SeedsNeeded
    """Number of seeds that would detect the difference."""


def summarize_arm(
    arm: str,
    values: Mapping[Unit, float],
    bounds: tuple[float, float] = UNBOUNDED,
    num_folds: int | None = None,
) -> ArmSummary:
    """Return mean, standard deviation and confidence interval of a metric over seeds.

    Args:
        arm: name of the arm.
        values: the metric by seed, NaN if it is not defined.
        bounds: smallest and largest possible value of the metric.
        num_folds: number of folds; None if there are no folds.
    """
    seeds, undefined = _split_finite(values)
    remarks = [f"excluded, because the value is not a finite number: {_list_seeds(undefined)}"] if undefined else []
    if not seeds:
        return ArmSummary(arm, (), undefined, None, None, None, "; ".join([*remarks, "no value"]))
    test = paired_t(np.array([values[seed] for seed in seeds]), 0.0, num_folds)
    if len(seeds) == 1:
        remarks.append("no interval, because there is only one seed")
    elif test.std == 0:
        remarks.append("no interval, because all seeds have the same value")
    low, high = bounded_interval(test.mean, (test.high - test.low) / 2, bounds)
    std, interval = _nan_to_none(test.std), _interval_or_none(low, high)
    return ArmSummary(arm, seeds, undefined, float(test.mean), std, interval, "; ".join(remarks))


def compare_arms(
    values: Mapping[str, Mapping[Unit, float]],
    baseline: str,
    *,
    higher_is_better: bool,
    failed: Mapping[str, Collection[Unit]] | None = None,
    bounds: tuple[float, float] = UNBOUNDED,
    num_folds: int | None = None,
) -> list[Comparison]:
    """Compare every arm with the baseline, in the order of the arms.

    Args:
        values: the metric by arm and seed, NaN if it is not defined.
        baseline: the arm with which all other arms are compared.
        higher_is_better: whether higher values of the metric are better.
        failed: by arm, the seeds whose trial failed. No verdict is given for such an arm: runs often fail because
            training diverges, so the remaining seeds are not a random sample.
        bounds: smallest and largest possible value of the metric.
        num_folds: number of folds; None if there are no folds.
    Raises:
        ValueError: if the baseline is not one of the arms.
    """
    if baseline not in values:
        raise ValueError(f"Expected one of the arms ({', '.join(values)}) as baseline; got '{baseline}'.")
    arms = [arm for arm in values if arm != baseline]
    failed = failed or {}
    comparisons = [
        _compare(
            arm,
            values[arm],
            baseline,
            values[baseline],
            num_comparisons=len(arms),
            failed={arm: failed.get(arm, ()), baseline: failed.get(baseline, ())},
            largest_difference=bounds[1] - bounds[0],
            num_folds=num_folds,
        )
        for arm in arms
    ]
    corrected = holm([math.nan if comparison.p is None else comparison.p for comparison in comparisons])
    return [
        _add_verdict(comparison, p_holm, higher_is_better)
        for comparison, p_holm in zip(comparisons, corrected, strict=True)
    ]


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for multiple comparisons with Holm's method.

    A comparison without a test has the p value NaN, which stays NaN. It still counts as a comparison, because it will
    have a p value once there are more seeds.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if not p.size:
        return []
    corrected = multipletests(np.nan_to_num(p, nan=1.0), method="holm")[1]
    return [float(value) for value in np.where(np.isnan(p), np.nan, corrected)]


def _compare(
    arm: str,
    arm_values: Mapping[Unit, float],
    baseline: str,
    baseline_values: Mapping[Unit, float],
    *,
    num_comparisons: int,
    failed: Mapping[str, Collection[Unit]],
    largest_difference: float,
    num_folds: int | None,
) -> Comparison:
    """Return a comparison without the fields that depend on all comparisons: the corrected p value and the verdict."""
    common = arm_values.keys() & baseline_values.keys()
    # The sum of two values is finite only if both are.
    seeds, undefined = _split_finite({seed: arm_values[seed] + baseline_values[seed] for seed in common})
    reasons = [
        f"{_list_seeds(sorted(failed_seeds))} of {shorten(name, LONGEST_IN_PAGE)} failed, so a verdict on the "
        "remaining seeds could be biased in favour of that arm"
        for name, failed_seeds in failed.items()
        if failed_seeds
    ]
    if undefined:
        reasons.append(
            f"the metric of {_list_seeds(undefined)} is not a finite number in at least one of the two arms, so a "
            "verdict on the remaining seeds could be biased"
        )
    units = "seeds" if num_folds is None else "folds"
    mean = std = math.nan
    p = interval = None
    if seeds:
        arm_array, baseline_array = (np.array([each[seed] for seed in seeds]) for each in (arm_values, baseline_values))
        test = paired_t(arm_array, baseline_array, num_folds)
        mean, std = float(test.mean), float(test.std)
        # Clipped instead of transformed: this way the interval excludes 0 if and only if p is below 5%.
        ends = np.clip([test.low, test.high], -largest_difference, largest_difference)
        p, interval = _nan_to_none(test.p), _interval_or_none(*ends)
        if std == 0 and mean != 0:
            reasons.append(
                f"the difference is the same for all {units}: with a standard deviation of 0, t would be infinite and "
                "p 0 for any difference, however small"
            )
    if len(seeds) < MIN_SEEDS:
        reasons.append(f"a verdict requires at least {MIN_SEEDS} common {units} (found {len(seeds)})")
    return Comparison(
        arm=arm,
        baseline=baseline,
        seeds=seeds,
        seeds_of_arm_only=tuple(sorted(arm_values.keys() - common)),
        seeds_of_baseline_only=tuple(sorted(baseline_values.keys() - common)),
        undefined_seeds=undefined,
        failed_seeds=tuple(sorted(set().union(*failed.values()))),
        mean_difference=_nan_to_none(mean),
        std_difference=_nan_to_none(std),
        interval=interval,
        p=p,
        p_holm=None,
        verdict=None,
        why_no_verdict="; ".join(reasons),
        seeds_needed=seeds_needed(
            mean, std, num_seeds=count_seeds(seeds), num_comparisons=num_comparisons, num_folds=num_folds
        ),
    )


def _add_verdict(comparison: Comparison, p_holm: float, higher_is_better: bool) -> Comparison:
    """Return a comparison with its corrected p value and, if there is no reason against one, its verdict."""
    if comparison.why_no_verdict:
        return replace(comparison, p_holm=_nan_to_none(p_holm))
    assert comparison.mean_difference is not None
    verdict: Verdict = "no significant difference"
    if p_holm <= LEVEL:
        verdict = "better" if (comparison.mean_difference > 0) == higher_is_better else "worse"
    return replace(comparison, p_holm=p_holm, verdict=verdict)


def _split_finite(values: Mapping[Unit, float]) -> tuple[tuple[Unit, ...], tuple[Unit, ...]]:
    """Return the seeds with a finite value, and the seeds without one."""
    seeds = tuple(seed for seed in sorted(values) if math.isfinite(values[seed]))
    return seeds, tuple(sorted(values.keys() - set(seeds)))


def _list_seeds(seeds: Sequence[Unit]) -> str:
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"


def _nan_to_none(value: SupportsFloat) -> float | None:
    return None if math.isnan(value) else float(value)


def _interval_or_none(low: SupportsFloat, high: SupportsFloat) -> Interval | None:
    return None if math.isnan(low) else (float(low), float(high))

"""Arms and their comparison over seeds: what a study says of methods, not of the models it happened to train."""

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
from research.system.plain_text import LONGEST_IN_PAGE, shorten

Interval = tuple[float, float]
Verdict = Literal["better", "worse", "no difference shown"]


@dataclass(frozen=True)
class ArmSummary:
    """A metric of one arm over its seeds."""

    arm: str
    """Which one."""
    seeds: tuple[int, ...]
    """Seeds with a finite value, ascending: all else is over these."""
    undefined_seeds: tuple[int, ...]
    """Seeds whose value is no finite number: the metric is not defined, or the run went astray."""
    mean: float | None
    """Mean; None without a seed."""
    std: float | None
    """Standard deviation (n - 1); None below two seeds."""
    interval: Interval | None
    """95% interval of the mean, within the metric's range; None below two seeds, or if all values are the same."""
    remark: str
    """Why there is no interval, and what was left out; empty if there is nothing to say."""


@dataclass(frozen=True)
class Comparison:
    """One arm against the baseline: paired t over the seeds that both have."""

    arm: str
    """Which one."""
    baseline: str
    """What it is compared with."""
    seeds: tuple[int, ...]
    """Seeds with a finite value in both, ascending: all else is over these."""
    seeds_of_arm_only: tuple[int, ...]
    """Seeds that the baseline has not (yet)."""
    seeds_of_baseline_only: tuple[int, ...]
    """Seeds that the arm has not (yet)."""
    undefined_seeds: tuple[int, ...]
    """Common seeds whose value is no finite number in either."""
    failed_seeds: tuple[int, ...]
    """Seeds of which a trial failed in either arm."""
    mean_difference: float | None
    """Arm - baseline, in units of the metric; None without a common seed."""
    std_difference: float | None
    """Standard deviation of the differences (n - 1); None below two common seeds."""
    interval: Interval | None
    """95% t interval of the mean difference, cut at what the metric's range allows, for itself alone: not corrected for
    the number of comparisons; None below two common seeds, or if all differences are the same."""
    p: float | None
    """p value of the test; 1 for arms with the same values, None where there is no test."""
    p_holm: float | None
    """The same after Holm's correction for all comparisons of the study, those without a test included."""
    verdict: Verdict | None
    """What the corrected p value says at the 5% level; None if it may not speak."""
    why_no_verdict: str
    """Why not; empty if there is a verdict."""
    needed: SeedsNeeded
    """Seeds that would tell the two apart."""


def summarize_arm(arm: str, values: Mapping[int, float], bounds: tuple[float, float] = UNBOUNDED) -> ArmSummary:
    """Return mean, spread and interval of a metric over seeds.

    Args:
        arm: name of the arm.
        values: the metric by seed; NaN where it is not defined.
        bounds: least and largest value that the metric can have.
    """
    seeds, undefined = _finite(values)
    remarks = [f"not a finite number, and left out: {_seeds(undefined)}"] if undefined else []
    if not seeds:
        return ArmSummary(arm, (), undefined, None, None, None, "; ".join([*remarks, "no value"]))
    test = paired_t(np.array([values[seed] for seed in seeds]), 0.0)
    if len(seeds) == 1:
        remarks.append("no interval of one seed")
    elif test.std == 0:
        remarks.append("no interval: all seeds gave the same value")
    low, high = bounded_interval(test.mean, (test.high - test.low) / 2, bounds)
    std, interval = _or_none(test.std), _interval(low, high)
    return ArmSummary(arm, seeds, undefined, float(test.mean), std, interval, "; ".join(remarks))


def compare_arms(
    values: Mapping[str, Mapping[int, float]],
    baseline: str,
    *,
    higher_is_better: bool,
    failed: Mapping[str, Collection[int]] | None = None,
    bounds: tuple[float, float] = UNBOUNDED,
) -> list[Comparison]:
    """Compare every arm with the baseline, in the order of the arms.

    Args:
        values: a metric by arm and seed; NaN where it is not defined.
        baseline: the arm that the others are compared with.
        higher_is_better: whether more of the metric is better.
        failed: seeds whose trial failed, by arm. Runs often fail because training diverges, so the seeds that are left
            are no random sample of the arm: there is no verdict.
        bounds: least and largest value that the metric can have.
    Raises:
        ValueError: if there is no such baseline.
    """
    if baseline not in values:
        raise ValueError(f"Expected one of the arms as baseline ({', '.join(values)}); got '{baseline}'.")
    arms = [arm for arm in values if arm != baseline]
    failed = failed or {}
    found = [
        _test(
            arm,
            values[arm],
            baseline,
            values[baseline],
            num_comparisons=len(arms),
            failed={arm: failed.get(arm, ()), baseline: failed.get(baseline, ())},
            largest_difference=bounds[1] - bounds[0],
        )
        for arm in arms
    ]
    corrected = holm([math.nan if test.p is None else test.p for test in found])
    return [_judge(test, p_holm, higher_is_better) for test, p_holm in zip(found, corrected, strict=True)]


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values after Holm's correction for their number; NaN, of a comparison without a test, stays NaN.

    A comparison without a test counts: the study asked it, and will have its p value with more seeds.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if not p.size:
        return []
    corrected = multipletests(np.nan_to_num(p, nan=1.0), method="holm")[1]
    return [float(value) for value in np.where(np.isnan(p), np.nan, corrected)]


def _test(
    arm: str,
    of_arm: Mapping[int, float],
    baseline: str,
    of_baseline: Mapping[int, float],
    *,
    num_comparisons: int,
    failed: Mapping[str, Collection[int]],
    largest_difference: float,
) -> Comparison:
    """Return a comparison as far as it needs no other: all but the correction and the verdict."""
    common = of_arm.keys() & of_baseline.keys()
    seeds, undefined = _finite({seed: of_arm[seed] + of_baseline[seed] for seed in common})
    reasons = [
        f"failed in {shorten(name, LONGEST_IN_PAGE)}: {_seeds(sorted(seeds_of_it))}; "
        "a verdict on the rest could flatter that arm"
        for name, seeds_of_it in failed.items()
        if seeds_of_it
    ]
    if undefined:
        reasons.append(
            f"not a finite number in one of the two: {_seeds(undefined)}; a verdict on the others could flatter an arm"
        )
    mean = std = math.nan
    p = interval = None
    if seeds:
        test = paired_t(*(np.array([values[seed] for seed in seeds]) for values in (of_arm, of_baseline)))
        mean, std = float(test.mean), float(test.std)
        # Cut, and not put on another scale: the interval excludes 0 if and only if p is below 5%.
        ends = np.clip([test.low, test.high], -largest_difference, largest_difference)
        p, interval = _or_none(test.p), _interval(*ends)
        if std == 0 and mean != 0:
            reasons.append(
                "the difference is the same for all seeds: with a spread of 0, t is infinite and p 0, however small "
                "the difference"
            )
    if len(seeds) < MIN_SEEDS:
        reasons.append(f"a verdict takes {MIN_SEEDS} common seeds or more, there are {len(seeds)}")
    return Comparison(
        arm=arm,
        baseline=baseline,
        seeds=seeds,
        seeds_of_arm_only=tuple(sorted(of_arm.keys() - common)),
        seeds_of_baseline_only=tuple(sorted(of_baseline.keys() - common)),
        undefined_seeds=undefined,
        failed_seeds=tuple(sorted(set().union(*failed.values()))),
        mean_difference=_or_none(mean),
        std_difference=_or_none(std),
        interval=interval,
        p=p,
        p_holm=None,
        verdict=None,
        why_no_verdict="; ".join(reasons),
        needed=seeds_needed(mean, std, num_seeds=len(seeds), num_comparisons=num_comparisons),
    )


def _judge(found: Comparison, p_holm: float, higher_is_better: bool) -> Comparison:
    """Return a comparison with its corrected p value and, where nothing speaks against one, its verdict."""
    if found.why_no_verdict:
        return replace(found, p_holm=_or_none(p_holm))
    assert found.mean_difference is not None
    verdict: Verdict = "no difference shown"
    if p_holm <= LEVEL:
        verdict = "better" if (found.mean_difference > 0) == higher_is_better else "worse"
    return replace(found, p_holm=p_holm, verdict=verdict)


def _finite(values: Mapping[int, float]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the seeds whose value is a finite number, and the others."""
    seeds = tuple(seed for seed in sorted(values) if math.isfinite(values[seed]))
    return seeds, tuple(sorted(values.keys() - set(seeds)))


def _seeds(seeds: Sequence[int]) -> str:
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"


def _or_none(value: SupportsFloat) -> float | None:
    return None if math.isnan(value) else float(value)


def _interval(low: SupportsFloat, high: SupportsFloat) -> Interval | None:
    return None if math.isnan(low) else (float(low), float(high))

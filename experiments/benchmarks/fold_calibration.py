"""Check by simulation how often comparisons over folds give a false alarm, and how often they find a known effect.

    python experiments/benchmarks/fold_calibration.py

The script computes mean-pooled features of the frozen encoder over real reviews once, and draws many small data sets
from them. In each round, the reviews are shuffled and cut into disjoint data sets. On each data set, two learners are
cross-validated with Midway's own folds (`deal_folds`). The folds share training rows, as in a real study. A learner is
a ridge classifier: least squares for labels of -1 and 1, in closed form, without random numbers. There are two pairs of
arms:

- features: each arm reads one half of the features.
- regularisation: both arms read all features, with a weak and a strong penalty. Their predictions differ less.

False alarms: the two arms should have the same expected accuracy. So the mean difference over all data sets is
subtracted from the accuracies of the first arm. What remains is how differently the arms respond to single data sets. A
test gives a false alarm if it finds a difference at the 5% level, in either direction. The interval is the binomial 95%
interval (Clopper and Pearson). It is a little too narrow, because data sets of different rounds share reviews.

Power: the same after the accuracies of the first arm were raised by one standard deviation of the differences of single
folds. Only differences in the right direction count.

Tests: the corrected resampled t test, which determines verdicts of studies with folds, and for comparison the t test
that takes the folds as independent, the Wilcoxon signed-rank test, and almost stochastic order (ASO) with an upper
bound of the violation ratio below 0.5 and below 0.2.

In the design "one division", all seeds divide the rows in the same way. Since the learners have no random numbers, the
differences of a fold are then the same for all seeds. This is why each seed of a study makes its own folds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import binomtest

from research.data.prepare.folds import deal_folds
from research.data.prepare.load import load_splits
from research.model.encoders import load_encoder, load_tokenizer
from research.settings.config import RunConfig
from research.studies.statistics.paired_t import LEVEL, Floats, paired_t
from research.studies.statistics.second_opinions import order_stochastically, signed_rank_p

MAX_LENGTH = 64
"""Maximum length of a review in tokens."""
WEAK_PENALTY, STRONG_PENALTY = 10.0, 300.0
"""Penalties of the ridge classifiers. The features are standardised, so the scale of a Gram matrix is their number."""
INTERCEPT = 100.0
"""Square of the constant feature with which the ridge classifiers learn an intercept."""
NO_EXISTING_SPLIT = np.empty(0, dtype=np.uint64)
Labels = NDArray[np.float64]


@dataclass(frozen=True)
class Arm:
    """A ridge classifier."""

    features: slice
    """The features that it reads."""
    penalty: float
    """Penalty of the squared weights."""


@dataclass(frozen=True)
class Design:
    """A cross-validation."""

    name: str
    num_folds: int
    num_seeds: int
    same_division: bool = False
    """Whether all seeds divide the rows in the same way."""


DESIGNS = (
    Design("5 folds", 5, 1),
    Design("10 folds", 10, 1),
    Design("5 folds, 3 seeds", 5, 3),
    Design("5 folds, 3 seeds, one division", 5, 3, same_division=True),
)


def compute_features(encoder: str, data: str) -> tuple[Floats, Labels]:
    """Return standardised mean-pooled hidden states of all rows, [num_rows, hidden], and labels of -1 or 1."""
    splits = [rows for _, rows in load_splits(RunConfig(data=data, encoder=encoder)).items()]
    texts = [text for rows in splits for text in rows["text"]]
    labels = np.array([label for rows in splits for label in rows["label"]])
    model, tokenizer = load_encoder(encoder).eval(), load_tokenizer(encoder)
    pooled = np.empty((len(texts), model.config.hidden_size))
    by_length = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    for start in range(0, len(texts), 128):
        chunk = by_length[start : start + 128]
        inputs = tokenizer(
            [texts[row] for row in chunk], truncation=True, max_length=MAX_LENGTH, padding=True, return_tensors="pt"
        )
        with torch.inference_mode():
            hidden_states = model(**inputs).last_hidden_state
        mask = inputs["attention_mask"].unsqueeze(-1)
        pooled[chunk] = ((hidden_states * mask).sum(1) / mask.sum(1)).numpy()
    return (pooled - pooled.mean(0)) / pooled.std(0), np.where(labels == 1, 1.0, -1.0)


def draw_data_sets(num_rows: int, size: int, number: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the rows of each data set, [number, size]. In each round of shuffling, data sets are disjoint."""
    per_round = num_rows // size
    rounds = [
        rng.permutation(num_rows)[: per_round * size].reshape(per_round, size) for _ in range(-(-number // per_round))
    ]
    return np.concatenate(rounds)[:number]


def smoother(features: Floats, penalty: float) -> Floats:
    """Return the matrix that maps labels to the fitted scores of a ridge classifier, [num_rows, num_rows]."""
    kernel = features @ features.T + INTERCEPT
    inverse: Floats = np.linalg.inv(kernel + penalty * np.eye(len(kernel)))
    return np.eye(len(kernel)) - penalty * inverse


def cross_validate(smoothing: Floats, labels: Labels, folds: NDArray[np.int64]) -> Floats:
    """Return the accuracy of a ridge classifier on each fold, [num_folds].

    The scores of a fold are those of a classifier that was trained without the fold. They need no second training: of a
    linear smoother S, the residuals of the rows f of a fold are (I - S_ff)^-1 (y - S y)_f.

    Args:
        smoothing: the matrix that `smoother` returns.
        labels: label of each row.
        folds: fold of each row.
    """
    fitted = smoothing @ labels
    accuracies = []
    for fold in range(folds.max() + 1):
        rows = np.flatnonzero(folds == fold)
        own = smoothing[np.ix_(rows, rows)]
        residuals = np.linalg.solve(np.eye(len(rows)) - own, labels[rows] - fitted[rows])
        accuracies.append(((labels[rows] - residuals) * labels[rows] > 0).mean())
    return np.array(accuracies)


def simulate(
    features: Floats, labels: Labels, data_sets: NDArray[np.int64], arms: Sequence[Arm]
) -> dict[Design, Floats]:
    """Return the accuracies of the arms in each design, [num_data_sets, num_arms, num_seeds * num_folds]."""
    results: dict[Design, list[Floats]] = {design: [] for design in DESIGNS}
    units = np.arange(data_sets.shape[1], dtype=np.uint64)
    for rows in data_sets:
        smoothings = [smoother(features[rows, arm.features], arm.penalty) for arm in arms]
        strata = (labels[rows] > 0).astype(np.int32)
        for design in DESIGNS:
            by_seed = []
            for seed in range(design.num_seeds):
                division = 0 if design.same_division else seed
                folds = deal_folds(units, strata, design.num_folds, division, NO_EXISTING_SPLIT)
                by_seed.append([cross_validate(smoothing, labels[rows], folds) for smoothing in smoothings])
            results[design].append(np.concatenate(by_seed, axis=1))
    return {design: np.stack(accuracies) for design, accuracies in results.items()}


def find_differences(arm: Floats, baseline: Floats, num_folds: int) -> dict[str, NDArray[np.int64]]:
    """Return what each test finds on each data set: 1 if the arm is better, -1 if it is worse, 0 if it finds nothing.

    Args:
        arm: accuracies of the arm, [num_data_sets, J].
        baseline: accuracies of the baseline.
        num_folds: number of folds.
    """
    signs = np.sign((arm - baseline).mean(axis=1)).astype(np.int64)
    corrected, naive = paired_t(arm, baseline, num_folds).p, paired_t(arm, baseline).p
    ranks = np.array([signed_rank_p(*pair) for pair in zip(arm, baseline, strict=True)])
    found = {
        "corrected t": signs * (corrected <= LEVEL),
        "naive t": signs * (naive <= LEVEL),
        "signed-rank": signs * (ranks <= LEVEL),
    }
    orders = [order_stochastically(*pair) for pair in zip(arm, baseline, strict=True)]
    low, high = np.array([each.low for each in orders]), np.array([each.high for each in orders])
    for threshold in (0.5, 0.2):
        found[f"ASO < {threshold}"] = (high < threshold).astype(np.int64) - (low > 1 - threshold)
    return found


def describe_share(hits: NDArray[np.bool_]) -> str:
    """Return a share with its binomial 95% interval."""
    interval = binomtest(int(hits.sum()), len(hits)).proportion_ci(1 - LEVEL)
    return f"{hits.mean():.1%} ({interval.low:.1%} to {interval.high:.1%})"


def tables(features: Floats, labels: Labels, data_sets: NDArray[np.int64]) -> Iterator[str]:
    """Yield the lines of the tables of false alarms and power, for both pairs of arms and all designs."""
    half = features.shape[1] // 2
    everything = slice(None)
    pairs = {
        "features": (Arm(slice(half), WEAK_PENALTY * 10), Arm(slice(half, None), WEAK_PENALTY * 10)),
        "regularisation": (Arm(everything, WEAK_PENALTY), Arm(everything, STRONG_PENALTY)),
    }
    false_alarms, powers = [], []
    for pair, arms in pairs.items():
        for design, accuracies in simulate(features, labels, data_sets, arms).items():
            arm, baseline = accuracies[:, 0], accuracies[:, 1]
            differences = arm - baseline
            arm = arm - differences.mean()
            effect = differences.std(ddof=1)
            cells = f"| {pair} | {design.name} |"
            alarms = find_differences(arm, baseline, design.num_folds)
            false_alarms.append(cells + "".join(f" {describe_share(found != 0)} |" for found in alarms.values()))
            hits = find_differences(arm + effect, baseline, design.num_folds)
            powers.append(
                cells + f" {effect:.3f} |" + "".join(f" {(found > 0).mean():.1%} |" for found in hits.values())
            )
    tests = " | ".join(alarms)
    rule = "|---" * len(alarms)
    yield f"False alarms at the 5% level, {len(data_sets)} data sets of {data_sets.shape[1]} reviews:\n"
    yield from (f"| arms | design | {tests} |", f"|---|---{rule}|", *false_alarms)
    yield "\nPower to find an effect of one standard deviation of the differences of single folds:\n"
    yield from (f"| arms | design | effect | {tests} |", f"|---|---|---{rule}|", *powers)


def main() -> None:
    """Compute the features, simulate the studies, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="rotten_tomatoes", help="reviews with two labels (default: rotten_tomatoes)")
    parser.add_argument("--encoder", default="minilm", help="the encoder (default: minilm)")
    parser.add_argument("--data_sets", type=int, default=500, help="simulated data sets (default: 500)")
    parser.add_argument("--rows", type=int, default=200, help="rows of each data set (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the simulation (default: 0)")
    options = parser.parse_args()
    started = time.perf_counter()
    features, labels = compute_features(options.encoder, options.data)
    print(f"{len(labels):,} reviews, features computed in {time.perf_counter() - started:.0f} s\n", flush=True)
    data_sets = draw_data_sets(len(labels), options.rows, options.data_sets, np.random.default_rng(options.seed))
    print("\n".join(tables(features, labels, data_sets)))
    print(f"\n{time.perf_counter() - started:.0f} s in total")


if __name__ == "__main__":
    main()

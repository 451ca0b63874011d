"""Measure what a common past gains in a study of edits: seeds needed with it, and with independent runs.

    python experiments/benchmarks/forked_studies.py runs/forked_studies

A study compares three edits at half of the run with runs that are not edited. All arms fork a common past
(`fork_at: 50%`). For each edit, the table has the standard deviation of the difference in test accuracy between two
runs, and the number of seeds that a t-test needs to detect a difference of EFFECT with 80% power at the 5% level:

- paired: both runs fork the same past, so that the difference is that of the edit
- independent: each run has its own past. The standard deviation is computed from those of both arms.

In Midway, two runs with the same seed have the same past even if nothing is forked. The first seed of each arm is
therefore also trained from the beginning, and the script checks that it ends with the same weights. What forks save is
the time of the common past, which the script prints in steps.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ABLATE = Path(__file__).parents[1] / "ablate.py"
EFFECT = 0.01
"""Difference in accuracy to detect."""
BASELINE = "unchanged"
EDITS = {
    "freeze the lower layers": {"freeze": "encoder.layer[:3]"},
    "drop the last layer": {"drop_layers": "encoder.layer[-1]"},
    "reinitialize the head": {"reinitialize": "head"},
}


def run_study(
    folder: Path, name: str, fork_at: str | None, seeds: list[int], options: argparse.Namespace
) -> dict[tuple[str, int], dict[str, str]]:
    """Run a study of the edits, and return the rows of its results.csv by arm and seed.

    Args:
        folder: folder of all studies.
        name: name of the study.
        fork_at: when the arms start, or None for runs from the beginning.
        seeds: the seeds.
        options: options of the script.
    """
    study = {
        "name": name,
        "base": {
            "data": "imdb",
            "encoder": "minilm",
            "head": "linear",
            "max_length": options.max_length,
            "limit_train": options.rows,
            "limit_validation": 64,
            "limit_test": options.test_rows,
            "epochs": 2,
            "evaluate_every": None,
            "save_every": None,
            "log_with": [],
        },
        "fork_at": fork_at,
        "arms": {BASELINE: {}, **{arm: {"timeline": [{"at": "50%", **edit}]} for arm, edit in EDITS.items()}},
        "grid": {"seed": seeds},
        "baseline": BASELINE,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(study), encoding="utf-8")
    command = [sys.executable, str(ABLATE), "--study", str(path), "--output_dir", str(folder / name)]
    subprocess.run([*command, "--workers", str(options.workers)], check=True)
    with (folder / name / "results.csv").open(encoding="utf-8", newline="") as file:
        return {(row["arm"], int(row["seed"])): row for row in csv.DictReader(file)}


def read_result(folder: Path, row: Mapping[str, str]) -> dict[str, Any]:
    """Return the result of a trial, given its row in results.csv."""
    result: dict[str, Any] = json.loads((folder / "trials" / row["id"] / "result.json").read_text(encoding="utf-8"))
    return result


def seeds_needed(deviation: float, test: Any) -> int:
    """Return the number of seeds, for each arm, with which a t-test detects EFFECT with 80% power at the 5% level.

    Args:
        deviation: standard deviation of the values that the test compares.
        test: TTestPower or TTestIndPower of statsmodels.
    """
    num_seeds = 2
    while deviation > 0 and test.power(EFFECT / deviation, num_seeds, 0.05) < 0.8:  # false for NaN, a power of 1
        num_seeds += 1
    return num_seeds


def main() -> None:
    """Run the studies and print the table."""
    from statsmodels.stats.power import TTestIndPower, TTestPower

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder for the studies; finished trials are not repeated")
    parser.add_argument("--seeds", type=int, default=10, help="seeds (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=1000, help="training reviews (default: %(default)s)")
    parser.add_argument("--test_rows", type=int, default=2000, help="test reviews (default: %(default)s)")
    parser.add_argument("--max_length", type=int, default=64, help="tokens (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="trials at a time (default: %(default)s)")
    options = parser.parse_args()
    seeds = list(range(options.seeds))
    forked = run_study(options.folder, "forks", "50%", seeds, options)
    whole = run_study(options.folder, "whole", None, seeds[:1], options)
    num_equal = sum(
        read_result(options.folder / "whole", row)["weights_sha256"]
        == read_result(options.folder / "forks", forked[key])["weights_sha256"]
        for key, row in whole.items()
    )
    steps = read_result(options.folder / "whole", whole[BASELINE, seeds[0]])["steps"]
    num_arms = len(EDITS) + 1
    print(f"{num_equal} of {len(whole)} runs from the beginning end with the weights of the fork with the same seed.")
    print(f"Steps for each seed: {steps // 2 * (num_arms + 1)} with forks, {steps * num_arms} without.")
    accuracies = {arm: [float(forked[arm, seed]["test/accuracy"]) for seed in seeds] for arm in (BASELINE, *EDITS)}
    print(
        f"| edit | mean difference | sd, paired | sd, independent | seeds needed for {EFFECT}, paired | independent |\n"
        "|---|---|---|---|---|---|"
    )
    for arm in EDITS:
        differences = [a - b for a, b in zip(accuracies[arm], accuracies[BASELINE], strict=True)]
        paired = statistics.stdev(differences)
        variances = [statistics.variance(accuracies[each]) for each in (arm, BASELINE)]
        within = math.sqrt(statistics.fmean(variances))  # the standard deviation of runs of an arm
        print(
            f"| {arm} | {statistics.fmean(differences):+.4f} | {paired:.4f} | {math.sqrt(2) * within:.4f} | "
            f"{seeds_needed(paired, TTestPower())} | {seeds_needed(within, TTestIndPower())} |"
        )


if __name__ == "__main__":
    main()

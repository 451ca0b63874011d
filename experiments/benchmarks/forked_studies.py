"""Measure what forks gain in a study of edits: seeds needed with a common past, and with independent runs.

    python experiments/benchmarks/forked_studies.py runs/forked_studies

Two studies compare the same three edits at half of the run with runs that are not edited. In one study, all arms fork
a common past (`fork_at: 50%`); in the other one, each trial starts from the beginning, with the same seeds. For each
edit, the table has the standard deviation of the paired differences in test accuracy, and the number of seeds that a
paired t-test needs to detect a difference of EFFECT with 80% power at the 5% level.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
from pathlib import Path

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


def run_study(folder: Path, name: str, fork_at: str | None, options: argparse.Namespace) -> dict[str, dict[int, float]]:
    """Run one of the studies, print its cost, and return the test accuracy by arm and seed."""
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
        "grid": {"seed": list(range(options.seeds))},
        "baseline": BASELINE,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(study), encoding="utf-8")
    command = [sys.executable, str(ABLATE), "--study", str(path), "--output_dir", str(folder / name)]
    subprocess.run([*command, "--workers", str(options.workers)], check=True)
    accuracies: dict[str, dict[int, float]] = {}
    with (folder / name / "results.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            accuracies.setdefault(row["arm"], {})[int(row["seed"])] = float(row["test/accuracy"])
    results = [json.loads(result.read_text()) for result in (folder / name / "trials").glob("*/result.json")]
    results = [result for result in results if result["status"] in ("finished", "paused")]
    print(
        f"{name}: {len(results)} runs, {sum(result['steps'] for result in results):,} steps at their ends", flush=True
    )
    return accuracies


def seeds_needed(deviation: float) -> int:
    """Return the number of seeds with which a paired t-test detects EFFECT with 80% power at the 5% level.

    Args:
        deviation: standard deviation of the paired differences.
    """
    from statsmodels.stats.power import TTestPower

    num_seeds = 2
    while (
        deviation > 0 and TTestPower().power(EFFECT / deviation, num_seeds, 0.05) < 0.8
    ):  # false for NaN, a power of 1
        num_seeds += 1
    return num_seeds


def main() -> None:
    """Run both studies and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder for the studies; finished trials are not repeated")
    parser.add_argument("--seeds", type=int, default=10, help="seeds (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=1000, help="training reviews (default: %(default)s)")
    parser.add_argument("--test_rows", type=int, default=2000, help="test reviews (default: %(default)s)")
    parser.add_argument("--max_length", type=int, default=64, help="tokens (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="trials at a time (default: %(default)s)")
    options = parser.parse_args()
    studies = {
        "forks": run_study(options.folder, "forks", "50%", options),
        "independent": run_study(options.folder, "independent", None, options),
    }
    print(
        f"| edit | study | mean difference | sd of the difference | seeds needed for {EFFECT} |\n|---|---|---|---|---|"
    )
    for arm in EDITS:
        for name, accuracies in studies.items():
            differences = [accuracies[arm][seed] - accuracies[BASELINE][seed] for seed in range(options.seeds)]
            deviation = statistics.stdev(differences)
            mean = statistics.fmean(differences)
            print(f"| {arm} | {name} | {mean:+.4f} | {deviation:.4f} | {seeds_needed(deviation)} |")


if __name__ == "__main__":
    main()

"""Tests of the simulations and the output of calibration.py."""

from __future__ import annotations

import gc
import json
import re
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from calibration import (
    best_arm_table,
    draw_arm_and_baseline,
    draw_studies,
    find_alarms,
    find_runs,
    main,
    read_correct,
    sample_accuracies,
)
from research.studies.statistics.over_seeds import compare_arms
from research.tasks.base import TASKS
from tests.conftest import Launch

NUM_RUNS, NUM_ROWS = 14, 80


def wrong_rows(seed: int) -> np.ndarray:
    """Return which rows the run with this seed predicts wrongly, about 30% of them."""
    return np.random.default_rng(seed).random(NUM_ROWS) < 0.3


def write_run(folder: Path, seed: int, *, status: str = "finished", **settings: Any) -> None:
    """Write the files of a run that calibration.py reads: settings, result, and predictions of the test rows."""
    run = folder / f"run-{seed}"
    (run / "predictions").mkdir(parents=True)
    (run / "config.yaml").write_text(yaml.safe_dump({"head": "mean", **settings, "seed": seed}), encoding="utf-8")
    (run / "result.json").write_text(json.dumps({"status": status}), encoding="utf-8")
    labels = np.arange(NUM_ROWS) % 2
    table = pa.table({"id": np.arange(NUM_ROWS), "label": labels, "prediction": labels ^ wrong_rows(seed)})
    pq.write_table(table, run / "predictions" / "test.parquet")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Write finished runs of one arm, and return their folder."""
    for seed in range(NUM_RUNS):
        write_run(tmp_path / "runs", seed)
    return tmp_path / "runs"


def test_script_prints_all_tables(launch: Launch, runs: Path) -> None:
    flags = ["--studies", "400", "--comparisons", "3"]
    printed = launch([runs, *flags], script="benchmarks/calibration.py").stdout
    accuracies = [1 - wrong_rows(seed).mean() for seed in range(NUM_RUNS)]
    accuracy = f"accuracy {statistics.mean(accuracies):.4f} ± {statistics.stdev(accuracies):.4f}"
    assert re.search(rf"^14 runs .*\b80 test rows, {accuracy}; 400 ", printed, flags=re.M)
    alarms = re.findall(r"^\| (\d) \| (\d+) \| ([\d.]+)% \| [\d.]+% \| [\d.]+% \| ([\d.]+)% \|$", printed, flags=re.M)
    assert [each[:2] for each in alarms] == [
        (num_comparisons, num_seeds) for num_comparisons in ("1", "3") for num_seeds in ("5", "8", "10")
    ]
    assert all(1 < float(share) < 9 for each in alarms for share in each[2:])  # 5% ± four standard errors
    opinions = re.findall(
        r"^\| (\d+) \| ([\d.]+)% \| ([\d.]+)% \| ([\d.]+)% \| ([\d.]+)% \| 400 \|$", printed, flags=re.M
    )
    assert [each[0] for each in opinions] == ["5", "8", "10"]
    for _, by_t, by_rank, below_half, below_fifth in opinions:
        assert max(float(by_t), float(by_rank)) < 9
        assert float(by_t) < float(below_fifth) < float(below_half)
    assert float(opinions[0][2]) == 0  # five pairs are too few for the signed-rank test
    best = re.findall(r"^\| (3|4) \| (\d+) \| ([\d.]+)% \| ([\d.]+)% \|$", printed, flags=re.M)
    assert [each[:2] for each in best] == [
        (num_arms, num_seeds) for num_arms in ("3", "4") for num_seeds in ("5", "8", "10")
    ]
    assert all(float(any_other) >= float(runner_up) for _, _, any_other, runner_up in best)
    powers = re.findall(
        r"^\| \+[\d.]+% \| 0\.\d+ \| [13] \| \d+ \| ([\d.]+)% \| ([\d.]+)% \| .* \|$", printed, flags=re.M
    )
    assert len(powers) == 8  # 4 effects, each with 1 and 3 comparisons
    for promised, found in powers:
        assert float(promised) >= 80  # numbers of seeds are chosen for a power of 80%
        assert abs(float(promised) - float(found)) < 10  # five standard errors
    coverage = re.findall(r"^\| [a-z].* \| (\d+) \| ([\d.]+)% \| ([\d.]+)% \| ([\d.]+)% \|$", printed, flags=re.M)
    assert [each[0] for each in coverage] == ["3", "5", "8", "10"] * 2
    for _, by_t, _, by_logit in coverage[4:]:  # the lines with accuracies near 1
        assert float(by_t) < float(by_logit)
        assert float(by_logit) > 89  # at least 94%, minus four standard errors
    # There are 91 pairs of 14 runs.
    assert len(re.findall(r"^\| (?:McNemar|bootstrap).* \| [\d.]+% of 91 \|$", printed, flags=re.M)) == 3


NEAR_MISS = """
import numpy as np
from research.tasks.base import register_task
from research.tasks.single_label import SingleLabel

@register_task("near_miss")
class NearMiss(SingleLabel):
    @classmethod
    def correctness(cls, labels, predicted):
        return np.abs(predicted - labels) <= 1  # with the labels 0 and 1, every prediction is correct
"""


def test_read_correct_uses_the_chosen_task(tmp_path: Path) -> None:
    plugin = tmp_path / "near_miss.py"
    plugin.write_text(NEAR_MISS, encoding="utf-8")
    write_run(tmp_path, 0)
    write_run(tmp_path, 1, task="near_miss", plugin=[str(plugin)])
    assert read_correct([tmp_path / "run-0"], "test").tolist() == [(~wrong_rows(0)).tolist()]
    with TASKS.isolated():
        assert read_correct([tmp_path / "run-1"], "test").tolist() == [[True] * NUM_ROWS]


@pytest.fixture
def fast_garbage_collection() -> Iterator[None]:
    """Exclude existing objects from the garbage collection that statsmodels runs for each of Holm's corrections."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("fast_garbage_collection")
def test_find_alarms_agrees_with_compare_arms() -> None:
    accuracies = np.random.default_rng(0).random((200, 6)) ** 3  # [num_studies, num_runs]
    alarms = find_alarms(accuracies, num_comparisons=3, num_seeds=5, rng=np.random.default_rng(1))
    studies = draw_studies(accuracies, num_arms=4, num_seeds=5, rng=np.random.default_rng(1))
    verdicts = [
        compare_arms(
            {str(arm): dict(enumerate(each)) for arm, each in enumerate(study)}, baseline="0", higher_is_better=True
        )
        for study in studies.tolist()
    ]
    assert alarms.tolist() == [any(each.verdict in ("better", "worse") for each in study) for study in verdicts]
    assert 0 < alarms.sum() < 40  # some of the 200 studies find a difference, most do not


@pytest.mark.usefixtures("fast_garbage_collection")
def test_best_of_equal_arms_seems_to_differ_more_often_than_a_fixed_arm() -> None:
    values = np.random.default_rng(0).normal(size=(1000, 12))
    lines = list(best_arm_table(values, 4, np.random.default_rng(0)))[2:]
    shares = {
        tuple(cells[:2]): float(cells[2].rstrip("%")) for cells in (line.strip("| ").split(" | ") for line in lines)
    }
    fixed = 100 * find_alarms(values, 4, 10, np.random.default_rng(0)).mean()
    assert fixed < 6
    assert shares["5", "10"] > 1.5 * fixed
    assert shares["5", "10"] > shares["3", "10"] > fixed


def test_no_two_arms_of_a_study_get_the_same_run_for_a_seed() -> None:
    run_numbers = np.tile(np.arange(7.0), (300, 1))  # in place of accuracies, to show which runs are drawn
    studies = draw_studies(run_numbers, num_arms=4, num_seeds=5, rng=np.random.default_rng(0))
    assert studies.shape == (300, 4, 5)
    assert all(len(set(study[:, seed])) == 4 for study in studies for seed in range(5))
    # All runs are drawn about equally often.
    assert np.bincount(studies.astype(int).ravel()) == pytest.approx(300 * 4 * 5 / 7, rel=0.15)


def test_arms_of_a_study_are_measured_on_the_same_sample_of_rows() -> None:
    identical_runs = np.tile(np.arange(50) % 3 == 0, (6, 1))  # 17 of 50 rows are correct
    accuracies = sample_accuracies(identical_runs, 700, np.random.default_rng(0))
    assert accuracies.shape == (700, 6)
    assert np.ptp(accuracies, axis=1).max() == 0
    assert accuracies[:, 0].mean() == pytest.approx(17 / 50, abs=0.01)
    assert accuracies[:, 0].std() == pytest.approx(np.sqrt(17 / 50 * 33 / 50 / 50), rel=0.1)  # binomial


def test_correcting_errors_with_probability_q_raises_the_accuracy_by_q_times_the_error_rate() -> None:
    accuracies = np.full((2000, 3), 0.6)
    arm, baseline = draw_arm_and_baseline(accuracies, num_rows=50, q=0.25, num_seeds=5, rng=np.random.default_rng(0))
    assert (baseline == 0.6).all()
    assert (arm - baseline).mean() == pytest.approx(0.25 * 0.4, abs=0.002)
    assert (arm - baseline).std() == pytest.approx(np.sqrt(20 * 0.25 * 0.75) / 50, rel=0.05)  # 20 of 50 are wrong


def test_runs_with_different_settings_are_refused(runs: Path) -> None:
    write_run(runs, 98, head="lstm")
    with pytest.raises(ValueError, match=r"run-0 and .*run-98 .*\bhead\."):
        find_runs(runs)


def test_unfinished_runs_are_skipped_with_a_message(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(runs, 99, status="interrupted")
    assert len(find_runs(runs)) == NUM_RUNS
    assert "skipped, not finished" in capsys.readouterr().out


def test_repeated_seed_is_refused(runs: Path) -> None:
    (runs / "run-1" / "config.yaml").write_text("{head: mean, seed: 0}", encoding="utf-8")
    with pytest.raises(ValueError, match="each seed once"):
        find_runs(runs)


def test_too_few_runs_are_refused(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["calibration.py", str(runs), "--comparisons", "14"])
    with pytest.raises(SystemExit, match=r"\b15 .*\b14\."):
        main()

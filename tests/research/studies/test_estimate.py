"""The time of a study is estimated from finished trials or measured steps."""

from __future__ import annotations

from pathlib import Path

import pytest
from optuna.trial import TrialState

from research.studies.estimate import NUM_STEPS, STARTING_SECONDS, estimate_time
from research.studies.grid import StudySpec, Trial, expand
from research.studies.storage.trials import StorageEntry
from tests.builders.parquet_shards import write_review_shards


def finished_entry(trial: Trial, seconds: float) -> StorageEntry:
    """Return the entry of a finished trial. Its key and its value do not matter here."""
    return StorageEntry(trial, TrialState.COMPLETE, {"seconds": seconds}, key=0, value=0.5)


def test_estimate_uses_the_median_of_finished_trials() -> None:
    trials = expand(StudySpec(grid={"head": ["linear", "lstm"], "seed": [0, 1, 2, 3, 4]}))
    # The first five trials are those of the linear head.
    entries = {
        trial.id: finished_entry(trial, seconds)
        for trial, seconds in zip([*trials[:3], *trials[5:7]], (1.0, 2.0, 60.0, 10.0, 20.0), strict=True)
    }
    # A failed trial runs again. The time of its failed run does not count.
    failed = StorageEntry(trials[7], TrialState.FAIL, {"seconds": 1e9}, key=0)
    missing = [*trials[3:5], *trials[7:]]
    estimate = estimate_time(missing, {**entries, failed.trial.id: failed}, num_workers=2, accelerate_config=None)
    # Two linear trials of 2 seconds and three lstm trials of 15 seconds (the medians), on two workers.
    assert estimate.seconds == (2 * 2.0 + 3 * 15.0) / 2
    linear_line, lstm_line = estimate.lines
    assert "linear: 2 x" in linear_line
    assert "lstm: 3 x" in lstm_line


def test_estimate_uses_no_more_workers_than_trials() -> None:
    first, second = expand(StudySpec(grid={"seed": [0, 1]}))
    entries = {first.id: finished_entry(first, 8.0)}
    assert estimate_time([second], entries, num_workers=4, accelerate_config=None).seconds == 8.0


@pytest.mark.usefixtures("use_session_cache")
def test_trials_with_streamed_rows_are_measured(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    data = write_review_shards(tmp_path / "shards")
    base = {"encoder": str(tiny_encoder), "data": str(data), "streaming": True, "freeze": ["encoder"], "batch_size": 8}
    trials = expand(StudySpec(base={**base, "mixed_precision": "no", "max_length": 16, "epochs": 10_000}))
    (line,) = estimate_time(trials, {}, num_workers=1, accelerate_config=None).lines
    assert f"120,000 steps, extrapolated from {NUM_STEPS})" in line  # twelve steps per epoch


@pytest.mark.usefixtures("use_session_cache")
def test_arms_without_finished_trials_are_measured(
    tiny_encoder: Path, tiny_reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    base = {"encoder": str(tiny_encoder), "data": str(tiny_reviews), "max_length": 16, "batch_size": 8}
    trials = expand(StudySpec(base={**base, "mixed_precision": "no", "epochs": 10_000}))
    estimate = estimate_time(trials, {}, num_workers=1, accelerate_config=None)
    (line,) = estimate.lines
    assert f"60,000 steps, extrapolated from {NUM_STEPS})" in line  # six steps per epoch
    assert estimate.seconds > STARTING_SECONDS + 60_000 * 1e-4  # no step takes less than 0.1 ms
    assert list(tmp_path.iterdir()) == [], "files were left in the working directory"

"""Runs with random timelines end with the same bits if they are killed and resumed, or forked."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scripts.fuzz_timelines import fuzz


@pytest.mark.parametrize(
    ("num_runs", "seed"), [(3, 0), pytest.param(60, 1, marks=pytest.mark.slow, id="60-1 (about ten minutes)")]
)
def test_random_timelines_end_with_the_same_bits_after_kills_and_forks(
    tiny_encoder: Path,
    tiny_reviews: Path,
    cache_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    num_runs: int,
    seed: int,
) -> None:
    monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))
    outcomes = list(fuzz(tmp_path, str(tiny_encoder), str(tiny_reviews), num_runs=num_runs, seed=seed))
    trained = [outcome for outcome in outcomes if not outcome.refused]
    assert len(trained) == num_runs
    assert [str(outcome) for outcome in trained if outcome.differences] == []

"""A run that is killed at any moment and resumed ends like an uninterrupted run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.scripts.kills import kill_and_compare

Check = Callable[..., None]


@pytest.fixture
def check(tiny_encoder: Path, tiny_reviews: Path, tmp_path: Path, user_environment: dict[str, str]) -> Check:
    """A function that kills `num_kills` runs at random moments, resumes them, and compares the results."""

    def compare(**options: int) -> None:
        settings = ["--encoder", str(tiny_encoder), "--data", str(tiny_reviews)]
        for kill in kill_and_compare(tmp_path, settings, user_environment, **options):
            print(kill)
            assert not kill.differences, kill

    return compare


@pytest.mark.parametrize(("num_kills", "num_processes"), [(3, 0), (1, 2)])
def test_killed_and_resumed_runs_end_with_the_bits_of_an_uninterrupted_run(
    check: Check, num_kills: int, num_processes: int
) -> None:
    check(num_kills=num_kills, num_processes=num_processes, seed=0)


@pytest.mark.slow  # eleven minutes
@pytest.mark.parametrize(("num_kills", "num_processes"), [(25, 0), (10, 2)])
def test_many_killed_runs_end_with_the_same_bits(check: Check, num_kills: int, num_processes: int) -> None:
    check(num_kills=num_kills, num_processes=num_processes, seed=1)

"""A run that is killed at any moment and resumed ends like an uninterrupted run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.scripts.kills import kill_and_compare

KillAndCheck = Callable[..., None]


@pytest.fixture
def kill_and_check(
    tiny_encoder: Path, tiny_reviews: Path, tmp_path: Path, user_environment: dict[str, str]
) -> KillAndCheck:
    """A function that kills runs at random moments, resumes them, and checks that their results are unchanged."""

    def run_and_check(**options: int) -> None:
        settings = ["--encoder", str(tiny_encoder), "--data", str(tiny_reviews)]
        for killed_run in kill_and_compare(tmp_path, settings, user_environment, **options):
            print(killed_run)
            assert not killed_run.differences, killed_run

    return run_and_check


# 0 processes means a run without a launcher.
@pytest.mark.parametrize(("num_kills", "num_processes"), [(3, 0), (1, 2)])
def test_killed_and_resumed_runs_end_with_the_bits_of_an_uninterrupted_run(
    kill_and_check: KillAndCheck, num_kills: int, num_processes: int
) -> None:
    kill_and_check(num_kills=num_kills, num_processes=num_processes, seed=0)


@pytest.mark.slow  # eleven minutes
@pytest.mark.parametrize(("num_kills", "num_processes"), [(25, 0), (10, 2)])
def test_many_killed_runs_end_with_the_same_bits(
    kill_and_check: KillAndCheck, num_kills: int, num_processes: int
) -> None:
    kill_and_check(num_kills=num_kills, num_processes=num_processes, seed=1)

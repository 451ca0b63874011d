"""The checks that test_gpu.py makes on a GPU also hold on a CPU, so that they are known to work."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Launch
from tests.integration.device_checks import (
    SHARD,
    Runs,
    check_exact_resume,
    check_launched,
    check_moves,
    check_same_result,
    check_skips_overflow,
)


@pytest.fixture
def runs(
    launch: Launch, tiny_encoder: Path, tiny_reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Runs:
    """Starts short runs on the CPU, even if there is a GPU."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    return Runs(launch, tiny_encoder, tiny_reviews, tmp_path)


def test_skipped_steps_are_counted_with_and_without_shard(runs: Runs) -> None:
    check_skips_overflow(runs, ["--mixed_precision", "no"], tolerance=1e-6)


def test_compiled_edits_have_the_result_of_edits_that_are_not_compiled(runs: Runs) -> None:
    compiled = ["--compile", "--compile_backend", "aot_eager"]
    check_same_result(runs, ["--mixed_precision", "no", *SHARD], (), compiled, tolerance=1e-6)


def test_run_resumes_with_the_same_bits(runs: Runs) -> None:
    check_exact_resume(runs, SHARD, on_gpu=False)


def test_run_continues_with_other_settings(runs: Runs) -> None:
    check_moves(runs, ["--optimizer", "adamw", "--lr", "1e-3"], SHARD, (), tolerance=1e-5)


def test_launched_process_has_the_result_of_plain_python(runs: Runs) -> None:
    check_launched(runs, "fsdp2_cpu_2_processes", 1, SHARD, tolerance=1e-6)

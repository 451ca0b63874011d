"""What takes long says so, again and again; what is quick says nothing."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from research import RunConfig, run_experiment
from research.system import waiting
from research.system.waiting import Announced, Counted
from tests.limits import HANG_LIMIT
from tests.messages import collected


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let messages come at once."""
    monkeypatch.setattr(waiting, "FIRST_AFTER", 0.0)
    monkeypatch.setattr(waiting, "AGAIN_AFTER", 0.001)


def test_long_wait_is_announced_again_and_again(hurried: None) -> None:
    end = time.monotonic() + HANG_LIMIT
    with collected() as lines, Announced("Reading"):
        while len(lines) < 3:
            assert time.monotonic() < end
            time.sleep(0.001)
    num_lines = len(lines)
    assert lines[0] == "Reading ..."
    assert lines[1].startswith("Reading: 0 min")
    assert len(lines) == num_lines


def test_quick_wait_and_another_process_print_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with collected() as lines:
        with Announced("Reading"), Counted("rows", 2, "row") as counted:
            counted.update(1)
        monkeypatch.setenv("RANK", "1")
        monkeypatch.setattr(waiting, "FIRST_AFTER", 0.0)
        with Counted("rows", 2, "row") as silent:
            silent.update(2)
    assert lines == []


def test_parts_are_counted_up_to_their_number(hurried: None, capsys: pytest.CaptureFixture[str]) -> None:
    with collected() as lines, Counted("evaluating test", 1500, "row") as counted:
        for _ in range(2):
            counted.update(1000)
            time.sleep(0.01)
    assert lines == ["evaluating test: 1,000 of 1,500 rows", "evaluating test: 1,500 of 1,500 rows"]
    assert capsys.readouterr() == ("", "")  # no bar where there is no terminal


SLOW = {
    "research.data.prepare.load.prepare": "Reading the rows of reviews",
    "research.data.batches.tokens._tokenize": "Tokenizing 89 rows",
    "research.runner.set_up.build_model": "Loading the encoder ",
    "research.model.head_check.build_head": "Checking the head",
    "research.learning.metrics.compute_metrics": "Computing the metrics of test",
    "research.hooks.checkpointing.save_checkpoint": "Saving a checkpoint",
    "research.runner.experiment.weights_sha256": "Hashing the weights",
    "research.runner.experiment.write_predictions": "Writing the predictions of test",
    "research.report.page.write_report": "Drawing report.html",
}


def test_every_long_phase_of_a_run_is_announced(
    hurried: None,
    tiny_encoder: Path,
    tiny_reviews: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MIDWAY_CACHE", str(tmp_path / "cache"))

    def slowed(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wait_first(*arguments: Any, **options: Any) -> Any:
            time.sleep(0.1)
            return function(*arguments, **options)

        return wait_first

    for name in SLOW:
        module, _, function = name.rpartition(".")
        monkeypatch.setattr(name, slowed(getattr(__import__(module, fromlist=[function]), function)))
    run_experiment(
        RunConfig(
            encoder=str(tiny_encoder),
            data=str(tiny_reviews),
            output_dir=str(tmp_path / "run"),
            max_length=32,
            max_steps=2,
            save_every="2st",
            evaluate_every=None,
            mixed_precision="no",
            num_threads=1,
            log_with=[],
        )
    )
    printed = capsys.readouterr().out
    assert [name for name, message in SLOW.items() if message not in printed] == []
    assert printed.count("\nstep ") == 2  # without a terminal, a line for each step that is due

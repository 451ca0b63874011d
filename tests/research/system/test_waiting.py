"""Slow operations are announced repeatedly; fast operations are not."""

from __future__ import annotations

import functools
import importlib
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from research import RunConfig, run_experiment
from research.system import waiting
from research.system.waiting import WaitingMessage, WaitingProgress
from tests.limits import HANG_LIMIT
from tests.messages import collect_messages


@pytest.fixture
def without_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Report slow operations at once and again every millisecond."""
    monkeypatch.setattr(waiting, "FIRST_MESSAGE_AFTER", 0.0)
    monkeypatch.setattr(waiting, "NEXT_MESSAGE_AFTER", 0.001)


def test_waiting_message_is_repeated_during_a_long_wait(without_delay: None) -> None:
    end = time.monotonic() + HANG_LIMIT
    with collect_messages() as lines, WaitingMessage("Reading"):
        while len(lines) < 3:
            assert time.monotonic() < end
            time.sleep(0.001)
    num_lines = len(lines)
    assert lines[0] == "Reading ..."
    assert lines[1].startswith("Reading: 0 min")
    assert len(lines) == num_lines  # no message after the end of the context


def test_waiting_message_prints_nothing_for_short_waits_or_in_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    with collect_messages() as lines:
        with WaitingMessage("Reading"), WaitingProgress("rows", total=2, unit="row") as progress:
            progress.update(1)
        monkeypatch.setenv("RANK", "1")
        monkeypatch.setattr(waiting, "FIRST_MESSAGE_AFTER", 0.0)
        with WaitingProgress("rows", total=2, unit="row") as progress_of_other_process:
            progress_of_other_process.update(2)
    assert lines == []


def test_waiting_progress_counts_up_to_the_total(
    without_delay: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(waiting, "NEXT_MESSAGE_AFTER", 0.0)
    with collect_messages() as lines, WaitingProgress("evaluating test", total=1500, unit="row") as progress:
        for _ in range(2):
            progress.update(1000)
            time.sleep(0.01)
    first, second = lines
    assert re.fullmatch(r"evaluating test: 1,000 of 1,500 rows \([\d,.e+]+ rows/s, 0\.0 min left\)", first)
    assert second.startswith("evaluating test: 1,500 of 1,500 rows (")
    speed = float(second.partition("(")[2].partition(" rows/s")[0].replace(",", ""))
    assert speed < 1500 / 0.01, "the speed does not depend on the time"
    assert capsys.readouterr() == ("", "")  # no progress bar without a terminal


SLOW = {
    "research.data.prepare.load.prepare": "Reading the rows of reviews",
    "research.data.batches.tokens.find_special_tokens": "Tokenizing 89 rows",  # all rows of tiny_reviews
    "research.runner.set_up.build_model": "Loading the encoder ",
    "research.model.head_check.build_head": "Checking the head",
    "research.learning.metrics.compute_metrics": "Computing the metrics of ",
    "research.hooks.checkpointing.save_checkpoint": "Saving a checkpoint",
    "research.runner.experiment.weights_sha256": "Hashing the weights",
    "research.runner.experiment.write_predictions": "Writing the predictions of ",
    "research.report.page.write_report": "Drawing report.html",
}
"""Functions that may be slow, and the start of the message that is printed while each runs."""


def test_every_slow_phase_of_a_run_prints_a_waiting_message(
    without_delay: None, tiny_encoder: Path, tiny_reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIDWAY_CACHE", str(tmp_path / "cache"))
    lines: list[str] = []
    announced: set[str] = set()

    def delay_until_announced(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that waits until the message of `name` is printed, and then calls `function`."""

        @functools.wraps(function)
        def wait_first(*arguments: Any, **options: Any) -> Any:
            num_lines_before, end = len(lines), time.monotonic() + HANG_LIMIT
            while not any(line.startswith(SLOW[name]) for line in lines[num_lines_before:]):
                assert time.monotonic() < end, f"{name} is not announced"
                time.sleep(0.001)
            announced.add(name)
            return function(*arguments, **options)

        return wait_first

    for name in SLOW:
        module, _, function = name.rpartition(".")
        monkeypatch.setattr(name, delay_until_announced(name, getattr(importlib.import_module(module), function)))
    with collect_messages(lines):
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
    assert announced == SLOW.keys()
    assert sum(line.startswith("step ") for line in lines) == 2  # without a terminal, one line per logged step

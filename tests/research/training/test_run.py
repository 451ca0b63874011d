"""What a run knows of itself."""

from __future__ import annotations

import json
import math
import os
import signal
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from research import Hook
from research.model.encoder_with_head import EncoderWithHead
from research.records.results import weights_sha256
from research.system.signals import Interrupted
from research.training.api import Run
from tests.research.conftest import StartRun


class Counts(Hook):
    """Counts evaluations."""

    def __init__(self) -> None:
        self.splits: list[str] = []

    def after_evaluate(self, run: Run, split: str, metrics: dict[str, float]) -> None:
        self.splits.append(split)


def test_predictions_are_computed_again_for_other_weights_only(start_run: StartRun) -> None:
    counts = Counts()
    run = start_run([counts])
    run.begin()
    first = run.latest_predictions("test")
    assert run.latest_predictions("test") is first
    with torch.no_grad():
        run.encoder_with_head.get_parameter("head.out.bias")[0] += 1
    second = run.latest_predictions("test")
    assert second.logits[:, 0] == pytest.approx(first.logits[:, 0] + 1, abs=1e-5)
    assert counts.splits == ["test", "test"]


def test_run_is_over_after_its_last_step_or_once_a_stop_was_agreed_on(start_run: StartRun) -> None:
    run = start_run(max_steps=1)
    run.stop("enough")
    run.stop("another reason")
    found = [run.is_over]
    run.stop_reason = run.asked_to_stop
    other = start_run(max_steps=1)
    found += [run.is_over, other.is_over]
    other.clock.advance(8)
    assert [*found, other.is_over] == [False, True, False, True]
    assert run.asked_to_stop == "enough"


def test_logged_values_are_numbers(start_run: StartRun) -> None:
    run = start_run()
    run.log({"mine": torch.tensor(2)})  # type: ignore[dict-item]
    run.log({"mine": 3, "yours": math.inf})
    assert run.to_log == {"mine": 3.0, "yours": math.inf}
    with pytest.raises(ValueError, match="'mine'"):
        run.log({"mine": torch.ones(2)})  # type: ignore[dict-item]


def test_saved_model_is_complete_and_replaces_an_older_one(start_run: StartRun, tmp_path: Path) -> None:
    run = start_run()
    for _ in range(2):
        run.encoder_with_head.get_parameter("head.out.bias").data.add_(1)
        run.save_model(tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith((".", "model"))] == ["model"]
    saved = EncoderWithHead.from_pretrained(tmp_path / "model")
    assert weights_sha256(saved) == weights_sha256(run.encoder_with_head)
    assert AutoTokenizer.from_pretrained(tmp_path / "model").model_max_length == 32
    assert json.loads((tmp_path / "model" / "config.json").read_text())["max_input_length"] == 32


def test_signal_ends_the_run_and_names_what_is_saved(start_run: StartRun) -> None:
    run = start_run()
    run.leave_if_interrupted()
    with run.signals:
        os.kill(os.getpid(), signal.SIGTERM)
        run.hear_signals()
    assert run.signal == signal.SIGTERM
    with pytest.raises(Interrupted, match=f"SIGTERM .*step 0 of 4; nothing.*{run.directory} .*--resume auto") as caught:
        run.leave_if_interrupted()
    assert caught.value.exit_code == 128 + signal.SIGTERM
    (run.directory / "checkpoints" / "step-00000002").mkdir(parents=True)
    with pytest.raises(Interrupted, match="step-00000002"):
        run.leave_if_interrupted()

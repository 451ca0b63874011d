"""Evaluations gather rows in chunks, and report logits that are not finite."""

from __future__ import annotations

import json
import math
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.utils import set_seed

from research import Hook, RunConfig, run_experiment
from research.system.messages import WARNING
from research.training.api import Run
from research.training.evaluation import evaluate
from research.training.nonfinite import NonFiniteError
from tests.research.conftest import StartRun


class Overflow(Hook):
    """Makes the logits infinite in the first evaluation of a split after a step, as an overflow in fp16 would."""

    def __init__(self, split: str, step: int) -> None:
        self.split, self.step = split, step
        self._is_done = False
        self._bias: torch.Tensor | None = None

    def before_evaluate(self, run: Run, split: str) -> None:
        if (split, run.clock.step) == (self.split, self.step) and not self._is_done:
            self._is_done = True
            bias = list(run.encoder_with_head.head.parameters())[-1]
            self._bias = bias.detach().clone()
            bias.data[0] = math.inf

    def after_evaluate(self, run: Run, split: str, metrics: dict[str, float]) -> None:
        if self._bias is not None:
            list(run.encoder_with_head.head.parameters())[-1].data.copy_(self._bias)
            self._bias = None


@pytest.fixture
def settings(tiny_settings: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Settings of a run with two steps, and an evaluation after each."""
    return tiny_settings | {
        "max_steps": 2,
        "evaluate_every": "1st",  # every step
        "log_with": [],
        "output_dir": str(tmp_path / "run"),
    }


def test_evaluate_gathers_rows_in_chunks(start_run: StartRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = start_run(evaluation_batch_size=4)
    sizes: list[int] = []
    gather = run.accelerator.gather

    def record_size(tensor: torch.Tensor) -> Any:
        sizes.append(len(tensor))
        return gather(tensor)

    monkeypatch.setattr(run.accelerator, "gather", record_size)
    at_once = evaluate(run, "validation", before_batch=lambda: None)
    assert max(sizes) == len(at_once.ids)
    sizes.clear()
    monkeypatch.setattr("research.training.gathering.CHUNK_BYTES", 1)
    in_chunks = evaluate(run, "validation", before_batch=lambda: None)
    assert max(sizes) == 4
    assert in_chunks.metrics == at_once.metrics
    for name in ("ids", "logits", "labels"):
        assert np.array_equal(getattr(in_chunks, name), getattr(at_once, name)), name


def test_evaluate_does_not_change_the_random_state(start_run: StartRun, monkeypatch: pytest.MonkeyPatch) -> None:
    def compute_metrics_with_randomness(*_: Any) -> dict[str, float]:  # some libraries draw numbers when imported
        random.random()
        np.random.rand()
        torch.rand(1)
        return {}

    def draw_numbers() -> list[float]:
        return [random.random(), np.random.rand(), torch.rand(1).item()]

    run = start_run()
    monkeypatch.setattr("research.learning.metrics.compute_metrics", compute_metrics_with_randomness)
    set_seed(0)
    expected = draw_numbers()
    set_seed(0)
    evaluate(run, "validation", before_batch=lambda: None)
    assert draw_numbers() == expected


@pytest.mark.parametrize(("split", "step"), [("validation", 1), ("test", 2)])
def test_evaluate_names_split_step_and_rows_if_logits_are_not_finite(
    settings: dict[str, Any], split: str, step: int
) -> None:
    with pytest.raises(NonFiniteError, match=rf"{split} after step {step}: .*\(rows 0, 1, 2, "):
        run_experiment(RunConfig(**settings), hooks=[Overflow(split, step)])


def test_evaluation_with_nonfinite_logits_has_no_metrics_and_is_never_the_best(
    settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    config = RunConfig(**settings, on_nonfinite="skip", best_metric="accuracy")
    result = run_experiment(config, hooks=[Overflow("validation", 2)])
    lines = [json.loads(line) for line in (Path(settings["output_dir"]) / "metrics.jsonl").read_text().splitlines()]
    assert [line["validation/loss"] is None for line in lines] == [False, True]
    assert [line["validation/accuracy"] is None for line in lines] == [False, True]
    assert (result["status"], result["tested"]) == ("finished", "best")
    assert math.isfinite(result["metrics"]["validation"]["accuracy"])
    assert re.search(f"{WARNING}.* validation after step 2", capsys.readouterr().out)


def test_model_with_the_best_loss_of_an_earlier_objective_is_not_tested(settings: dict[str, Any]) -> None:
    timeline = [{"at": "1st", "set_objective": "focal"}]  # after step 1
    config = RunConfig(**settings, on_nonfinite="skip", best_metric="loss", timeline=timeline)
    # The only evaluation with the new objective has no loss.
    result = run_experiment(config, hooks=[Overflow("validation", 2)])
    assert result["tested"] == "last"


def test_result_is_written_if_the_final_evaluation_has_nonfinite_logits(settings: dict[str, Any]) -> None:
    config = RunConfig(**settings, on_nonfinite="skip")
    run_experiment(config, hooks=[Overflow("test", 2)])
    result = json.loads((Path(settings["output_dir"]) / "result.json").read_text())
    assert result["status"] == "finished"
    assert result["metrics"]["test"]["accuracy"] is None
    assert result["metrics"]["validation"]["accuracy"] is not None

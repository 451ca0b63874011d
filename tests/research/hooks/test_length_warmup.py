"""Training inputs are short at first, and become longer."""

from __future__ import annotations

import pytest

from research import Hook
from research.data.batches.batch import Batch
from research.hooks.length_warmup import LengthWarmup
from research.training.api import Run
from research.training.loop import train
from tests.research.conftest import StartRun


class RecordBatches(Hook):
    """Records the width (tokens per row, with padding) and the row ids of each batch."""

    def __init__(self) -> None:
        self.widths: list[int] = []
        self.ids: list[list[int]] = []

    def on_batch(self, run: Run, batch: Batch) -> None:
        self.widths.append(batch.inputs["input_ids"].shape[1])
        self.ids.append(batch.ids.tolist())


def test_length_warmup_truncates_inputs_and_keeps_the_order_of_rows(start_run: StartRun) -> None:
    baseline, recorder = RecordBatches(), RecordBatches()
    train(start_run([baseline], max_length=32))
    run = start_run([LengthWarmup(start=8, over="2st", num_stages=2), recorder], max_length=32)
    train(run)
    assert recorder.ids == baseline.ids
    assert [min(width, limit) for width, limit in zip(baseline.widths, [8, 16, 32, 32], strict=True)] == recorder.widths
    # The second of the stages 8, 20 and 32 is rounded to a multiple of 8.
    assert [record.arguments["length"] for record in run.journal] == [8, 16, 32]


def test_length_warmup_does_not_affect_evaluation(start_run: StartRun) -> None:
    run = start_run([LengthWarmup(start=8, over="100%")], max_length=32, max_steps=1)
    assert run.encoder_with_head.config.max_input_length == 32
    train(run)
    assert run.encoder_with_head.config.max_input_length == 32


def test_length_warmup_refuses_a_start_at_the_full_length_and_a_number_of_stages_of_0(start_run: StartRun) -> None:
    with pytest.raises(ValueError, match=r"--max_length 32, got a start of 32"):
        start_run(hook=[{"name": "length_warmup", "start": 32}])
    with pytest.raises(ValueError, match=r"num_stages .*start .*\b0 and 64\b"):
        LengthWarmup(num_stages=0)

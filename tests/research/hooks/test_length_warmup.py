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
    without_warmup, with_warmup = RecordBatches(), RecordBatches()
    train(start_run([without_warmup], max_length=32, max_steps=4))
    hook = LengthWarmup(start=8, over="2st", num_stages=2)  # "2st": over 2 steps
    run = start_run([hook, with_warmup], max_length=32, max_steps=4)
    train(run)
    assert with_warmup.ids == without_warmup.ids
    limits = [8, 16, 32, 32]
    expected_widths = [min(width, limit) for width, limit in zip(without_warmup.widths, limits, strict=True)]
    assert with_warmup.widths == expected_widths
    # In two stages, the length grows from 8 over 20 to 32. Lengths are rounded to multiples of 8, so 20 becomes 16.
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
        LengthWarmup(num_stages=0)  # with the default start, 64

"""Batches of a run have the right rows and lengths."""

from __future__ import annotations

import numpy as np
import torch

from research.data.batches.order import MicroBatch
from research.training.batches import Batches
from tests.messages import collect_messages
from tests.research.conftest import StartRun


def make_micro_batch(*rows: int) -> MicroBatch:
    """Return a micro-batch of rows, each with weight 1."""
    return MicroBatch(np.array(rows), np.ones(len(rows), dtype=np.float32))


def test_lower_max_length_truncates_training_inputs_but_not_evaluation_inputs(start_run: StartRun) -> None:
    run = start_run(max_length=24)
    longest_train_row, longest_validation_row = (
        int(np.argmax(run.lengths_of(split))) for split in ("train", "validation")
    )
    run.collator.max_length = 10
    assert run.collate(make_micro_batch(longest_train_row)).inputs["input_ids"].shape == (1, 10)
    assert run.collate(make_micro_batch(longest_validation_row), "validation").inputs["input_ids"].shape == (1, 24)
    assert run.lengths_of("train").tolist() == run.splits.train["length"]


def test_collate_returns_rows_labels_and_weights(start_run: StartRun) -> None:
    run = start_run(max_length=32)
    batch = run.collate(MicroBatch(np.array([5, 2]), np.array([1.0, 0.0], dtype=np.float32)))
    assert batch.labels.tolist() == [run.splits.train[row]["label"] for row in (5, 2)]
    assert batch.weights.tolist() == [1.0, 0.0]
    tokens = batch.inputs["attention_mask"].sum(dim=1).tolist()
    assert tokens == [min(32, run.splits.train[row]["length"]) for row in (5, 2)]


def test_rows_sha256_depends_only_on_the_rows(start_run: StartRun) -> None:
    first, different_settings, fewer_rows = (
        start_run(**settings) for settings in ({}, {"head": "mean", "seed": 3}, {"limit_test": 5})
    )
    assert first.batches.rows_sha256 == different_settings.batches.rows_sha256 != fewer_rows.batches.rows_sha256


def test_disable_cache_if_disables_the_cache_only_if_there_is_a_reason(start_run: StartRun) -> None:
    run_batches = start_run().batches
    batches = Batches(run_batches.texts, run_batches.splits, run_batches.collator, torch.device("cpu"))
    with collect_messages() as lines:
        batches.disable_cache_if(None)
        assert (batches.cache_disabled, lines) == (False, [])
        batches.disable_cache_if("the encoder trains")
    assert (batches.features, batches.cache_disabled) == (None, True)
    assert [line.partition(": ")[2] for line in lines] == ["the encoder trains."]

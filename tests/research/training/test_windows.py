"""Batches of windows in a run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from research.data.batches.order import MicroBatch
from research.records.results import weights_sha256
from research.training.loop import train
from tests.research.conftest import StartRun, use_scaler

WINDOWS: dict[str, Any] = {"long_texts": "windows", "max_length": 10, "stride": 6, "window_batch_size": 3}


def test_a_text_shorter_than_a_window_gets_the_bits_of_truncation(start_run: StartRun) -> None:
    logits = []
    for settings in ({}, {"long_texts": "windows"}, {"long_texts": "windows", "window": 10}):
        run = start_run(max_length=512 if "window" in settings else 64, max_steps=2, head="lstm", **settings)
        assert run.lengths_of("test").max() == 33
        train(run)
        logits.append(run.evaluate("test").logits)
    assert np.array_equal(logits[0], logits[1])
    assert not np.allclose(logits[0], logits[2])


def test_training_chooses_windows_by_row_and_epoch_and_evaluation_uses_all(start_run: StartRun) -> None:
    run = start_run(**WINDOWS, train_windows=1)
    longest = np.argsort(-run.lengths_of("train"), kind="stable")[:4]
    micro_batch = MicroBatch(longest, np.ones(4, dtype=np.float32))
    run.model.train()
    first, again = (run.collate(micro_batch).inputs["input_ids"] for _ in range(2))
    assert torch.equal(first, again)
    assert first.shape == (4, 10)
    run.clock.start_next_epoch()
    assert not torch.equal(run.collate(micro_batch).inputs["input_ids"], first)
    run.model.eval()
    all_windows = run.collate(micro_batch)
    assert all_windows.inputs["attention_mask"].sum(1).tolist() == run.lengths_of("train")[longest].tolist()


def test_a_gradient_scaler_changes_no_weights(start_run: StartRun) -> None:
    hashes = set()
    for scales in (False, True):
        run = start_run(**WINDOWS, max_steps=3)
        if scales:
            use_scaler(run)
        train(run)
        assert run.num_skipped == 0
        hashes.add(weights_sha256(run.encoder_with_head))
    assert len(hashes) == 1


def test_stored_hidden_states_give_the_losses_of_computed_ones(start_run: StartRun) -> None:
    losses = []
    for cache_features in (True, False):
        run = start_run(**WINDOWS, freeze=["encoder"], max_steps=8, head="attention", cache_features=cache_features)
        train(run)
        assert (run.batches.features is not None) == cache_features
        losses.append(run.evaluate("validation").metrics["loss"])
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def test_hidden_states_are_not_stored_if_windows_are_chosen_at_random(start_run: StartRun) -> None:
    lines: list[str] = []
    run = start_run(messages=lines, **WINDOWS, freeze=["encoder"], max_steps=8, train_windows=2)
    assert run.batches.features is None
    assert any("not cached: --train_windows" in line for line in lines)

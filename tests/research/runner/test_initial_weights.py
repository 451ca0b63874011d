"""A run begins with the weights of a saved model, if that is built alike and predicts the same labels."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from research.runner.initial_weights import load_initial_weights
from research.training.checkpoint.save import save_checkpoint
from research.training.loop import train
from tests.research.conftest import StartRun
from tests.research.model.tiny_encoders import tiny_model


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A saved model, all of whose weights are 0.5."""
    model = tiny_model("bert")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.5)
    model.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def test_all_weights_are_those_of_the_saved_model(saved: Path) -> None:
    model = tiny_model("bert")
    load_initial_weights(model, saved)
    assert {float(value) for parameter in model.parameters() for value in parameter.detach().unique()} == {0.5}


def test_weights_of_a_checkpoint_are_taken_too(start_run: StartRun) -> None:
    first = start_run()
    save_checkpoint(first, keep=1)
    second = start_run(seed=1)
    expected = first.encoder_with_head.get_parameter("head.out.weight")
    found = second.encoder_with_head.get_parameter("head.out.weight")
    assert not torch.equal(found, expected)
    load_initial_weights(second.encoder_with_head, first.directory / "checkpoints" / "step-00000000")
    assert torch.equal(found, expected)


def test_model_with_other_labels_is_refused(saved: Path) -> None:
    with pytest.raises(ValueError, match=r"label 0, label 1, label 2, .*label 0, label 1;") as caught:
        load_initial_weights(tiny_model("bert", num_labels=2), saved)
    assert str(saved) in str(caught.value)


def test_model_that_is_built_otherwise_is_refused(saved: Path) -> None:
    model = tiny_model("bert", head="mlp")
    with pytest.raises(ValueError, match=r"head mlp, 3 labels.*--encoder .*--head"):
        load_initial_weights(model, saved)


def test_model_with_adapters_of_its_own_is_refused(start_run: StartRun, tmp_path: Path) -> None:
    run = start_run(peft={"name": "lora", "r": 2}, max_steps=1)
    train(run)
    run.save_model(tmp_path / "adapted")
    with pytest.raises(ValueError, match=r"adapted .*merge_lora"):
        load_initial_weights(start_run().encoder_with_head, tmp_path / "adapted")

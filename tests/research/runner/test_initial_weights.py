"""Initial weights are loaded from a saved model if it has the same architecture and labels."""

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
def saved_model(tmp_path: Path) -> Path:
    """A saved model with three labels, and all weights set to 0.5."""
    model = tiny_model("bert")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.5)
    model.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def test_load_initial_weights_loads_all_weights_of_a_saved_model(saved_model: Path) -> None:
    model = tiny_model("bert")
    load_initial_weights(model, saved_model)
    assert {float(value) for parameter in model.parameters() for value in parameter.detach().unique()} == {0.5}


def test_load_initial_weights_accepts_a_checkpoint(start_run: StartRun) -> None:
    first = start_run()
    save_checkpoint(first, keep=1)
    second = start_run(seed=1)
    expected = first.encoder_with_head.get_parameter("head.out.weight")
    weight = second.encoder_with_head.get_parameter("head.out.weight")
    assert not torch.equal(weight, expected)
    load_initial_weights(second.encoder_with_head, first.directory / "checkpoints" / "step-00000000")
    assert torch.equal(weight, expected)


def test_load_initial_weights_rejects_a_model_with_different_labels(saved_model: Path) -> None:
    with pytest.raises(ValueError, match=r"label 0, label 1, label 2; .*label 0, label 1\.") as caught:
        load_initial_weights(tiny_model("bert", num_labels=2), saved_model)
    assert str(saved_model) in str(caught.value)


def test_load_initial_weights_rejects_a_model_with_a_different_architecture(saved_model: Path) -> None:
    model = tiny_model("bert", head="mlp")
    with pytest.raises(ValueError, match=r"head mlp, 3 labels.*--encoder, --head"):
        load_initial_weights(model, saved_model)


def test_load_initial_weights_rejects_a_model_with_adapters(start_run: StartRun, tmp_path: Path) -> None:
    run = start_run(peft={"name": "lora", "r": 2}, max_steps=1)
    train(run)
    run.save_model(tmp_path / "adapted")
    with pytest.raises(ValueError, match=r"adapted .*merge_adapters"):
        load_initial_weights(start_run().encoder_with_head, tmp_path / "adapted")

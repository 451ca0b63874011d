"""The model is wrapped for training, and wrapped again if its trainable parameters change."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from torch import nn

from research.learning.optimizer import create_optimizer
from research.model.families import model_blocks
from research.settings.config import RunConfig
from research.training.wrapping.ddp import ReplicatedModel
from tests.research.model.tiny_encoders import tiny_batch, tiny_model


def test_fits_if_the_same_parameters_train_in_the_same_order(accelerator: Accelerator) -> None:
    model = tiny_model("bert")
    wrapping = ReplicatedModel(accelerator, model)
    assert wrapping.fits()
    assert wrapping.num_trainable == sum(parameter.numel() for parameter in model.parameters())
    bias = model.get_parameter("head.out.bias")
    bias.requires_grad_(False)
    assert not wrapping.fits()
    bias.requires_grad_(True)
    assert wrapping.fits()
    out = model.head.get_submodule("out")
    out._parameters["bias"], out._parameters["weight"] = out._parameters.pop("bias"), out._parameters.pop("weight")
    assert not wrapping.fits()  # the same parameters in a different order
    out.bias = nn.Parameter(bias.detach().clone())
    assert not wrapping.fits()


def test_wrapped_model_computes_in_the_requested_precision(accelerator: Accelerator) -> None:
    model = tiny_model("bert").eval()
    expected = model(**tiny_batch()).logits
    actual = ReplicatedModel(accelerator, model).module(**tiny_batch()).logits
    assert torch.equal(actual, expected) == (accelerator.mixed_precision == "no")
    torch.testing.assert_close(actual, expected, rtol=0.05, atol=0.05)


def test_end_edits_adapts_the_wrappers_to_the_parameters_that_train(accelerator: Accelerator) -> None:
    model = tiny_model("bert").eval()
    optimizer = create_optimizer(model_blocks(model.encoder, model.head), RunConfig())
    wrapping = ReplicatedModel(accelerator, model)
    wrapping.wrap(optimizer)
    expected = wrapping.module(**tiny_batch()).logits
    wrapping.begin_edits("mask", optimizer)
    model.encoder.requires_grad_(False)
    assert not wrapping.fits()
    assert wrapping.end_edits("mask", optimizer) == {}
    assert wrapping.fits()
    assert wrapping.num_trainable == sum(parameter.numel() for parameter in model.head.parameters())
    assert torch.equal(wrapping.module(**tiny_batch()).logits, expected)  # autocast is applied only once

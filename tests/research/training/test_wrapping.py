"""The model is wrapped for training, and wrapped again if its trainable parameters change."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from torch import nn

from research.model.parameters import trainable_parameters
from research.training.wrapping import Wrapped, reduced_sizes, rewrap, wrap
from tests.research.model.tiny_encoders import tiny_batch, tiny_model


def test_fits_if_the_same_parameters_train_in_the_same_order() -> None:
    first, second = nn.Linear(2, 3), nn.Linear(3, 1)
    model = nn.Sequential(first, second)
    wrapped = Wrapped(model, trainable_parameters(model))
    assert wrapped.fits(model)
    assert wrapped.num_trainable == 2 * 3 + 3 + 3 + 1
    assert not wrapped.fits(nn.Sequential(second, first))
    for bias in (first.bias, second.bias):
        bias.requires_grad_(False)
        assert not wrapped.fits(model)
        bias.requires_grad_(True)
    first.bias = nn.Parameter(first.bias.detach().clone())
    assert not wrapped.fits(model)


def test_wrap_computes_in_the_requested_precision(accelerator: Accelerator) -> None:
    model = tiny_model("bert").eval()
    expected = model(**tiny_batch()).logits
    wrapped = wrap(accelerator, model, None)
    actual = wrapped.module(**tiny_batch()).logits
    assert torch.equal(actual, expected) == (accelerator.mixed_precision == "no")
    torch.testing.assert_close(actual, expected, rtol=0.05, atol=0.05)
    assert (wrapped.is_compiled, reduced_sizes(wrapped.module)) == (False, None)


def test_rewrap_matches_the_current_trainable_parameters(accelerator: Accelerator) -> None:
    model = tiny_model("bert").eval()
    before = wrap(accelerator, model, None)
    expected = before.module(**tiny_batch()).logits
    model.encoder.requires_grad_(False)
    assert not before.fits(model)
    after = rewrap(accelerator, before, model)
    assert after.fits(model)
    assert after.num_trainable == sum(parameter.numel() for parameter in model.head.parameters())
    assert torch.equal(after.module(**tiny_batch()).logits, expected)  # autocast is applied only once

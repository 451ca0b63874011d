"""Gradient checkpointing computes activations twice and changes no gradient."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, AutoModel, PreTrainedModel

from research.model.adapter_targets import linear_layers
from research.model.gradient_checkpointing import enable_gradient_checkpointing
from tests.research.model.test_adapter_targets import FAMILIES
from tests.research.model.tiny_encoders import FAMILY_NAMES, tiny_batch, tiny_model

UNSUPPORTED = ["albert", "mpnet"]
SUPPORTED = [*(name for name in FAMILY_NAMES if name not in UNSUPPORTED), "gpt2", "llama"]


def build(family: str) -> PreTrainedModel:
    """Return a tiny encoder in training mode with dropout and frozen embeddings."""
    torch.manual_seed(0)
    if family in FAMILY_NAMES:
        encoder = tiny_model(family).encoder
    else:
        config = CONFIG_MAPPING[family](**{"pad_token_id": 1, "eos_token_id": 3, **FAMILIES[family][0]})
        encoder = AutoModel.from_config(config)
    for module in encoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.2
    for name, parameter in encoder.named_parameters():
        parameter.requires_grad_(re.search(r"\.\d+\.", name) is not None)  # only the layers have numbers
    built: PreTrainedModel = encoder.train()
    return built


def compute_gradients(encoder: PreTrainedModel) -> tuple[dict[str, Tensor], int, Tensor]:
    """Return the gradients, how often the first linear layer was run, and the next random number."""
    num_calls = 0

    def count(*_: object) -> None:
        nonlocal num_calls
        num_calls += 1

    first = next(name for name in linear_layers(encoder) if ".0." in name)
    handle = encoder.get_submodule(first).register_forward_hook(count)
    torch.manual_seed(1)
    hidden_states = encoder(**tiny_batch(), use_cache=False).last_hidden_state
    hidden_states.sin().sum().backward()
    handle.remove()
    gradients = {name: p.grad.clone() for name, p in encoder.named_parameters() if p.grad is not None}
    encoder.zero_grad()
    return gradients, num_calls, torch.rand(1)


@pytest.mark.parametrize("family", SUPPORTED)
def test_gradients_with_dropout_and_frozen_embeddings_are_bit_identical(family: str) -> None:
    encoder = build(family)
    expected, num_calls, next_number = compute_gradients(encoder)
    assert num_calls > 0
    assert expected
    enable_gradient_checkpointing(encoder)
    gradients, num_calls_with_checkpointing, next_number_after = compute_gradients(encoder)
    assert num_calls_with_checkpointing == 2 * num_calls  # in the forward pass, and again in the backward pass
    assert gradients.keys() == expected.keys()
    assert all(torch.equal(gradients[name], expected[name]) for name in expected)
    assert torch.equal(next_number_after, next_number)


@pytest.mark.parametrize("family", UNSUPPORTED)
def test_a_family_without_support_is_refused(family: str) -> None:
    with pytest.raises(ValueError, match=rf"'{family}'.*--gradient_checkpointing false"):
        enable_gradient_checkpointing(build(family))

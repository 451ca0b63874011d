"""Adapters are added to an encoder's linear layers, and merged into them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from research.model.adapters import AdapterSettings, inject_adapters, merge_adapters, name_without_adapters
from tests.research.model.tiny_encoders import tiny_batch, tiny_model

TARGET = "encoder.layer.0.attention.self.query"
SETTINGS = AdapterSettings("lora", [TARGET], {"r": 2, "lora_alpha": 6})


def compute_last_hidden_state(encoder: PreTrainedModel) -> Tensor:
    with torch.no_grad():
        return encoder.eval()(**tiny_batch()).last_hidden_state


def test_new_adapters_change_no_outputs_and_are_merged_with_their_scale() -> None:
    encoder = tiny_model("bert").encoder
    before, names = compute_last_hidden_state(encoder), [name for name, _ in encoder.named_parameters()]
    weight = encoder.get_parameter(f"{TARGET}.weight").clone()
    inject_adapters(encoder, SETTINGS)
    assert torch.equal(compute_last_hidden_state(encoder), before)
    adapters = {name: value for name, value in encoder.named_parameters() if "lora_" in name}
    assert [
        (name_without_adapters(name).startswith(f"{TARGET}."), value.shape) for name, value in adapters.items()
    ] == [
        (True, torch.Size([2, 32])),
        (True, torch.Size([32, 2])),
    ]
    lora_a, lora_b = adapters.values()
    nn.init.normal_(lora_b)
    adapted = compute_last_hidden_state(encoder)
    assert not torch.allclose(adapted, before)
    change = (lora_b @ lora_a).detach() * 6 / 2  # alpha / r
    merge_adapters(encoder)
    assert [name for name, _ in encoder.named_parameters()] == names
    assert not hasattr(encoder, "peft_config")
    torch.testing.assert_close(encoder.get_parameter(f"{TARGET}.weight"), weight + change)
    torch.testing.assert_close(compute_last_hidden_state(encoder), adapted, rtol=1e-4, atol=1e-5)


def test_name_without_adapters_removes_the_part_that_adapters_add() -> None:
    encoder = tiny_model("bert").encoder
    names = [name for name, _ in encoder.named_parameters()]
    inject_adapters(encoder, SETTINGS)
    wrapped = [name for name, _ in encoder.named_parameters() if "lora_" not in name]
    assert wrapped != names
    assert [name_without_adapters(name) for name in wrapped] == names

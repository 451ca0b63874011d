"""Output layer of most heads."""

from __future__ import annotations

import torch

from heads.output_layer import OutputLayer


def test_output_layer_starts_with_small_weights_and_zero_bias() -> None:
    torch.manual_seed(0)
    layer = OutputLayer(100, 50)
    assert 0.019 < layer.weight.std() < 0.021
    assert layer.bias.abs().max() == 0


def test_output_layer_computes_in_the_precision_of_its_weights_under_autocast() -> None:
    layer = OutputLayer(2, 1)
    layer.weight.data, layer.bias.data = torch.tensor([[1.0, 1.0]]), torch.zeros(1)
    features = torch.tensor([[256.0, 1.0]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = layer(features)
        assert torch.nn.functional.linear(features, layer.weight).item() == 256.0  # bfloat16 cannot represent 257
    assert logits.dtype == torch.float32
    assert logits.item() == 257.0


def test_output_layer_accepts_bfloat16_features_and_the_meta_device() -> None:
    layer = OutputLayer(2, 3)
    assert layer(torch.ones(4, 2, dtype=torch.bfloat16)).dtype == torch.float32
    assert layer.to("meta")(torch.ones(4, 2, device="meta")).shape == (4, 3)

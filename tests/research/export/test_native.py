"""Models as Transformers' own classes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from research.export.native import native_model
from research.model.encoder_with_head import EncoderWithHead
from tests.research.model.tiny_encoders import tiny_batch, tiny_model


def trained_model(family: str, head: str, **options: Any) -> EncoderWithHead:
    """Return a model whose parameters and affine map of the logits are all different from their initial values."""
    model = tiny_model(family, head, **options).eval()
    for parameter in model.head.parameters():
        nn.init.normal_(parameter, std=0.3)
    model.set_output_units(torch.tensor([0.5, -1.0, 2.0]), torch.tensor([1.5, 0.5, 3.0]))
    model.set_temperature(1.7)
    return model


@pytest.mark.parametrize(
    ("family", "head"),
    [
        ("deberta-v2", "linear"),
        ("deberta-v2", "mlp"),
        ("distilbert", "linear"),
        ("distilbert", "mlp"),
        ("electra", "linear"),
    ],
)
def test_native_model_gives_the_same_logits(family: str, head: str) -> None:
    model = trained_model(family, head, **({"mlp_size": 20} if head == "mlp" else {}))
    native = native_model(model)
    assert type(native).__module__.startswith("transformers.models.")
    with torch.inference_mode():
        expected, logits = model(**tiny_batch()).logits, native(**tiny_batch()).logits
    assert expected.std() > 0.1
    torch.testing.assert_close(logits, expected, atol=1e-6, rtol=1e-6)
    assert native.config.id2label == model.config.id2label
    assert native.config.problem_type == model.config.problem_type


@pytest.mark.parametrize(
    ("family", "head", "reason"),
    [
        ("bert", "linear", "tanh"),
        ("modernbert", "mean", "LayerNorm"),
        ("distilbert", "mean", "head 'mean'"),
        ("electra", "mlp", "head 'mlp'"),
    ],
)
def test_native_model_refuses_models_that_differ_from_every_class(family: str, head: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"{reason}.*Export without --native"):
        native_model(tiny_model(family, head))


def test_native_model_refuses_more_units_than_the_class_has() -> None:
    with pytest.raises(ValueError, match="at most 16"):
        native_model(tiny_model("distilbert", "linear", num_labels=17))
    with pytest.raises(ValueError, match="at most 32 units"):
        native_model(tiny_model("distilbert", "mlp", mlp_size=33))

"""Encoders whose frozen weights are stored in fewer bits compute as with the decoded weights, and are saved decoded."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor

from research.model.base_dtype import restore_base_weights, saved_state_dict, store_base_weights, stored_modules
from research.model.encoder_with_head import EncoderWithHead
from research.model.parameters import count_parameters
from research.settings.config import BaseDtype
from tests.research.edits.conftest import compute_logits
from tests.research.model.tiny_encoders import FAMILY_NAMES, tiny_batch, tiny_model

DTYPES: tuple[BaseDtype, ...] = ("bf16", "int8", "int4")
FAMILIES = (*FAMILY_NAMES, "bart", "gemma3_text", "gpt2", "llama", "t5", "xlm")
LARGEST_ERROR = {"bf16": 1 / 256, "int8": 1 / 254, "int4": 0.153}
"""Largest error of a weight, as a share of its own size (bf16) or of the largest weight in its row or block."""
CPU = torch.device("cpu")


def store(model: EncoderWithHead, base_dtype: BaseDtype) -> EncoderWithHead:
    """Store the weights of the encoder."""
    store_base_weights(model.encoder, base_dtype, CPU)
    return model


def gradients(model: EncoderWithHead) -> dict[str, Tensor]:
    """Return the gradients of all trainable parameters, without dropout."""
    model.eval().zero_grad()
    model(**tiny_batch(), labels=torch.tensor([0, 1, 2])).loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("base_dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_stored_weights_give_the_logits_and_gradients_of_the_decoded_weights(
    family: str, base_dtype: BaseDtype
) -> None:
    stored = store(tiny_model(family), base_dtype)
    assert stored_modules(stored.encoder)
    decoded = copy.deepcopy(stored)
    restore_base_weights(decoded.encoder)
    assert not stored_modules(decoded)
    assert {parameter.dtype for parameter in decoded.parameters()} == {torch.float32}
    torch.testing.assert_close(compute_logits(stored), compute_logits(decoded), rtol=1e-5, atol=1e-5)
    actual, expected = gradients(stored), gradients(decoded)
    assert actual.keys() == expected.keys()
    assert any(name.startswith("encoder.") for name in actual)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("base_dtype", DTYPES)
def test_decoded_weights_are_close_to_the_original_weights(base_dtype: BaseDtype) -> None:
    model = tiny_model("llama")
    weight = model.encoder.get_parameter("layers.0.mlp.up_proj.weight").detach().clone()
    size = weight.abs()
    store(model, base_dtype)
    layer = model.encoder.get_submodule("layers.0.mlp.up_proj")
    assert isinstance(layer.weight, Tensor)
    unit = size if base_dtype == "bf16" else size.amax(1, keepdim=True) if base_dtype == "int8" else size.max()
    assert bool(((layer.weight - weight).abs() <= unit * LARGEST_ERROR[base_dtype] * 1.001).all())
    assert not torch.equal(layer.weight, weight)


def test_int8_rounds_each_row_to_127_steps() -> None:
    model = tiny_model("llama")
    parameter = model.encoder.get_parameter("layers.0.mlp.up_proj.weight")
    row = torch.zeros(parameter.shape[1])
    row[:3] = torch.tensor([-2.54, 1.0, 0.031])  # steps of 0.02
    with torch.no_grad():
        parameter[0] = row
    store(model, "int8")
    assert parameter.dtype == torch.int8
    assert parameter[0, :4].tolist() == [-127, 50, 2, 0]


@pytest.mark.parametrize(("base_dtype", "share"), [("bf16", 0.55), ("int8", 0.35), ("int4", 0.25)])
def test_stored_weights_take_less_memory_and_count_the_same(base_dtype: BaseDtype, share: float) -> None:
    model = tiny_model("llama")
    (_, total), num_bytes = count_parameters(model), count_bytes(model)
    store(model, base_dtype)
    assert count_parameters(model)[1] == total
    assert count_bytes(model) < share * num_bytes


def count_bytes(model: EncoderWithHead) -> int:
    """Return the size of the encoder's parameters and buffers."""
    return sum(value.nbytes for value in model.encoder.state_dict().values())


@pytest.mark.parametrize("base_dtype", DTYPES)
@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "t5"])
def test_models_without_values_have_the_same_tensors(family: str, base_dtype: BaseDtype) -> None:
    with torch.device("meta"):
        outline = tiny_model(family)
    store_base_weights(outline.encoder, base_dtype, torch.device("meta"))
    described, expected = (
        {name: (value.shape, value.dtype) for name, value in model.state_dict().items()}
        for model in (outline, store(tiny_model(family), base_dtype))
    )
    assert described == expected


@pytest.mark.parametrize("base_dtype", DTYPES)
@pytest.mark.parametrize("family", ["bert", "gpt2", "llama"])
def test_saved_models_have_the_decoded_weights_in_float32(tmp_path: Path, family: str, base_dtype: BaseDtype) -> None:
    model = store(tiny_model(family), base_dtype)
    model.save_pretrained(tmp_path)
    loaded = EncoderWithHead.from_pretrained(tmp_path)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    saved = {name: value.float() for name, value in saved_state_dict(model).items()}
    assert saved.keys() == loaded.state_dict().keys()
    assert all(torch.equal(value, saved[name]) for name, value in loaded.state_dict().items())
    torch.testing.assert_close(compute_logits(loaded), compute_logits(model), rtol=1e-5, atol=1e-5)


def test_int4_is_refused_on_devices_without_kernels() -> None:
    with pytest.raises(ValueError, match=r"int4.*mps.*--base_dtype int8"):
        store_base_weights(tiny_model("bert").encoder, "int4", torch.device("mps"))

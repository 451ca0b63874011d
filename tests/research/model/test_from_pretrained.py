"""Saved models are loaded exactly as they were saved, or refused."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from research.model.encoder_with_head import EncoderWithHead
from tests.builders.hostile import Trap
from tests.research.model.tiny_encoders import tiny_model


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop("head.out.bias"), r"1 missing \(head.out.bias\)"),
        (lambda weights: weights.pop("head.shift"), r"1 missing \(head.shift\)"),
        (lambda weights: weights.pop("encoder.encoder.layer.1.output.dense.bias"), "1 missing"),
        (lambda weights: weights.update({"head.more": torch.zeros(1)}), r"1 unexpected \(head.more\)"),
        (lambda weights: weights.update({"head.out.bias": torch.zeros(4)}), r"1 mismatched \(.*head.out.bias"),
    ],
)
def test_from_pretrained_refuses_missing_unexpected_or_mismatched_weights(
    saved_model: Path, change: Callable[[dict[str, Tensor]], object], message: str
) -> None:
    weights = load_file(saved_model / "model.safetensors")
    change(weights)
    save_file(weights, saved_model / "model.safetensors", metadata={"format": "pt"})
    for load in (EncoderWithHead.from_pretrained, AutoModelForSequenceClassification.from_pretrained):
        with pytest.raises(ValueError, match=message):
            load(saved_model)


def test_from_pretrained_refuses_unexpected_weights_that_transformers_would_ignore(tmp_path: Path) -> None:
    tiny_model("deberta-v2").save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights["encoder.embeddings.position_embeddings.weight"] = torch.zeros(40, 32)
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"1 unexpected \(encoder.embeddings.position_embeddings.weight\)"):
        EncoderWithHead.from_pretrained(tmp_path)


@pytest.mark.parametrize("only_pickle", [False, True])
@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "adapter_model.bin"])
def test_from_pretrained_unpickles_nothing(
    saved_model: Path, tmp_path_factory: pytest.TempPathFactory, name: str, only_pickle: bool
) -> None:
    executed_marker = tmp_path_factory.mktemp("trap") / "executed_marker"
    (saved_model / name).write_bytes(pickle.dumps({"head.out.bias": Trap(executed_marker)}))
    if only_pickle:
        (saved_model / "model.safetensors").unlink()
        for options in ({}, {"use_safetensors": False}):
            with pytest.raises(ValueError, match=rf"\b{re.escape(name)}, a pickle"):
                EncoderWithHead.from_pretrained(saved_model, **options)
    else:
        EncoderWithHead.from_pretrained(saved_model, use_safetensors=False)
    assert not executed_marker.exists()
    pickle.loads((saved_model / name).read_bytes())
    assert executed_marker.exists()  # the trap works: unpickling the file runs its code


def test_from_pretrained_refuses_an_adapter(saved_model: Path) -> None:
    (saved_model / "adapter_config.json").write_text("{}")
    with pytest.raises(ValueError, match="PEFT adapter"):
        EncoderWithHead.from_pretrained(saved_model)


def test_from_pretrained_accepts_a_different_precision(saved_model: Path) -> None:
    model = EncoderWithHead.from_pretrained(saved_model, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_from_pretrained_accepts_a_different_attention_implementation(saved_model: Path) -> None:
    for load in (EncoderWithHead.from_pretrained, AutoModelForSequenceClassification.from_pretrained):
        assert load(saved_model, attn_implementation="eager").encoder.config._attn_implementation == "eager"


def test_from_pretrained_returns_the_loading_info_on_request(saved_model: Path) -> None:
    model, info = EncoderWithHead.from_pretrained(saved_model, output_loading_info=True)
    assert isinstance(model, EncoderWithHead)
    assert not info["missing_keys"]

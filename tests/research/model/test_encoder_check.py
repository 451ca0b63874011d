"""Encoders are checked before they train: padding, direction of attention, parameters without a gradient."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from transformers import BertTokenizer

from research.data.batches.collate import Collator
from research.model.encoder_check import EncoderCheck, EncoderError, checking_each_encoder_once
from research.model.encoder_with_head import EncoderWithHead, EncoderWithHeadConfig
from research.model.family_table import FAMILIES
from research.settings.config import RunConfig
from research.tasks.single_label import SingleLabel
from tests.builders.tiny_families import tiny_family_config, tiny_family_encoder


def check(
    family: str, *, encoder: Any = None, padding_side: str = "right", precision: str = "no", **settings: Any
) -> EncoderWithHead:
    """Check a tiny encoder, and return the model."""
    encoder = tiny_family_encoder(family) if encoder is None else encoder
    model = EncoderWithHead(EncoderWithHeadConfig(encoder=encoder.config, head="mean", num_labels=2), encoder)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "one", "two"]
    tokenizer = BertTokenizer(vocab={word: index for index, word in enumerate(words)})
    tokenizer.padding_side = padding_side
    collator = Collator(tokenizer, SingleLabel(("a", "b")), max_length=40, truncation="head", pair=False)
    config = RunConfig(max_length=40, **settings)
    AcceleratorState._reset_state(reset_partial_state=True)  # it keeps the precision of an earlier test
    accelerator = Accelerator(cpu=True, mixed_precision=precision)
    EncoderCheck(model.train(), accelerator, tokenizer, collator, config).check()
    return model


@pytest.mark.parametrize("padding_side", ["right", "left"])
@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "roberta", "t5", "deberta-v2"])
def test_encoders_that_ignore_padding_are_accepted(family: str, padding_side: str) -> None:
    model = check(family, padding_side=padding_side)
    assert all(module.training for module in model.encoder.modules())


@pytest.mark.parametrize("precision", ["no", "bf16"])
@pytest.mark.parametrize("family", ["convbert", "mobilebert", "nystromformer", "yoso"])
def test_encoders_that_depend_on_padding_are_refused(
    family: str, precision: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(EncoderError, match=rf"{family}.*padding.*--allow_padding_sensitive"):
        check(family, precision=precision)
    check(family, precision=precision, allow_padding_sensitive=True)
    assert "depends on padding" in caplog.text


def test_slight_dependence_on_padding_is_found_in_half_precision() -> None:
    encoder = tiny_family_encoder("convbert", std=0.05)  # padding changes states by 3% of what tokens change
    with pytest.raises(EncoderError, match=r"convbert.*padding"):
        check("convbert", encoder=encoder, precision="bf16")


def test_left_padding_is_refused_where_positions_count_from_the_left_end() -> None:
    with pytest.raises(EncoderError, match=r"bart.*padding"):
        check("bart", padding_side="left")
    check("bart", padding_side="right")


def test_encoder_whose_first_token_unexpectedly_sees_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FAMILIES, "llama", dataclasses.replace(FAMILIES["llama"], is_causal=False))
    with pytest.raises(EncoderError, match="first token"):
        check("llama")


def test_encoder_whose_forward_changes_buffers_is_refused_on_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    check("ibert")
    monkeypatch.setattr(Accelerator, "num_processes", 2)
    check("bert")
    with pytest.raises(EncoderError, match=r"ibert.*x_min.*one process"):
        check("ibert")


def test_parameters_without_a_gradient_are_frozen_and_reported(caplog: pytest.LogCaptureFixture) -> None:
    encoder = tiny_family_encoder("bert")
    encoder.unused = torch.nn.Linear(2, 2)
    with caplog.at_level("INFO"):
        model = check("bert", encoder=encoder)
    assert {name for name, value in model.named_parameters() if not value.requires_grad} == {
        "encoder.unused.weight",
        "encoder.unused.bias",
    }
    assert model.unused_parameters == set(encoder.unused.parameters())
    assert "unused.weight" in caplog.text


def test_layer_whose_weight_is_read_without_a_call_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FAMILIES, "jamba", dataclasses.replace(FAMILIES["jamba"], uncalled=()))
    model = check("jamba")
    uncalled = [name for name, module in model.named_modules() if module in model.uncalled_layers]
    assert uncalled == ["encoder.layers.0.mamba.dt_proj"]


def test_declared_unused_parameters_are_frozen_in_a_new_model() -> None:
    model = EncoderWithHead(EncoderWithHeadConfig(encoder=tiny_family_config("squeezebert"), head="mean", num_labels=2))
    frozen = {name for name, value in model.named_parameters() if not value.requires_grad}
    assert frozen == {"encoder.pooler.dense.weight", "encoder.pooler.dense.bias"}


def test_encoder_is_checked_again_only_if_something_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder: Any = tiny_family_encoder("bert")
    encoder.register_parameter("unused", torch.nn.Parameter(torch.zeros(3)))
    passes = 0
    forward = type(encoder).forward

    @functools.wraps(forward)
    def counting_forward(*args: Any, **kwargs: Any) -> Any:
        nonlocal passes
        passes += 1
        return forward(*args, **kwargs)

    monkeypatch.setattr(type(encoder), "forward", counting_forward)
    with checking_each_encoder_once():
        check("bert", encoder=encoder)
        num_passes, passes = passes, 0
        encoder.unused.requires_grad_(True)
        again = check("bert", encoder=encoder)
        assert passes == 0
        assert again.unused_parameters == {encoder.unused}
        assert not encoder.unused.requires_grad
        with torch.no_grad():
            encoder.embeddings.word_embeddings.weight[0, 0] += 1e-6  # one bit of one weight
        encoder.unused.requires_grad_(True)
        check("bert", encoder=encoder)
        assert passes == num_passes > 0
    check("bert", encoder=encoder)
    assert passes == 2 * num_passes

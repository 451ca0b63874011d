"""Every family of encoders is divided into blocks, and its dropout and longest input are known."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoConfig, PreTrainedModel

from research.model.encoder_classes import build_encoder
from research.model.families import encoder_blocks, find_family, longest_input, model_blocks, set_dropout
from research.model.family_table import FAMILIES
from tests.builders.tiny_families import TINY_FAMILIES, tiny_family_config, tiny_family_encoder
from tests.research.model.tiny_encoders import FAMILY_NAMES, tiny_batch, tiny_config, tiny_model

REST = {
    "deberta-v2": {"encoder.rel_embeddings", "encoder.LayerNorm", "encoder.conv"},
    "modernbert": {"final_norm"},
    "mpnet": {"encoder.relative_attention_bias"},
}
"""Prefixes of the parameters in the block `rest`, for families that have one."""


def build_tiny_encoder(family: str, **changed: Any) -> PreTrainedModel:
    """Return a tiny encoder without a pooler; `changed` overrides values of its config."""
    config = tiny_config(family, **changed)
    encoder: PreTrainedModel = build_encoder(config)
    return encoder


def test_all_families_are_tested() -> None:
    assert set(FAMILIES) <= set(TINY_FAMILIES)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_blocks_contain_every_parameter_once(family: str) -> None:
    model = tiny_model(family)
    blocks = model_blocks(model.encoder, model.head)
    names = [name for _, parameters in blocks for name, _ in parameters]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())
    assert all(parameter is model.get_parameter(name) for _, parameters in blocks for name, parameter in parameters)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_blocks_are_named_and_ordered_from_embeddings_to_head(family: str) -> None:
    layers = ["layer.0"] if family == "albert" else ["layer.0", "layer.1"]
    rest = ["rest"] if family in REST else []
    model = tiny_model(family)
    blocks = dict(model_blocks(model.encoder, model.head))
    assert list(blocks) == ["embeddings", *layers, *rest, "head"]
    table = model.encoder.get_input_embeddings().weight
    assert any(parameter is table for _, parameter in blocks["embeddings"])


@pytest.mark.parametrize("family", sorted(REST))
def test_rest_block_contains_parameters_outside_embeddings_and_layers(family: str) -> None:
    encoder = build_tiny_encoder(family)
    rest = [name for name, _ in dict(encoder_blocks(encoder))["rest"]]
    assert {part for part in REST[family] if any(name.startswith(part) for name in rest)} == REST[family]
    assert all(name.startswith(tuple(REST[family])) for name in rest)


@pytest.mark.parametrize("family", ["albert", "electra"])
def test_embeddings_block_contains_the_projection_of_the_embeddings(family: str) -> None:
    encoder = build_tiny_encoder(family)
    projections = [
        parameter for _, parameter in dict(encoder_blocks(encoder))["embeddings"] if parameter.shape == (32, 16)
    ]
    assert len(projections) == 1  # from embeddings of size 16 to hidden states of size 32


def test_blocks_distinguish_layer_1_from_layer_10() -> None:
    blocks = dict(encoder_blocks(build_tiny_encoder("bert", num_hidden_layers=11)))
    assert len(blocks["layer.1"]) == len(blocks["layer.10"]) == 16  # parameters of a BERT layer


def test_blocks_of_albert_are_its_groups_of_layers() -> None:
    blocks = dict(encoder_blocks(build_tiny_encoder("albert", num_hidden_groups=2)))
    assert list(blocks) == ["embeddings", "layer.0", "layer.1"]


def test_blocks_of_an_unknown_family_are_guessed_and_reported(caplog: pytest.LogCaptureFixture) -> None:
    assert "ctrl" not in FAMILIES
    blocks = encoder_blocks(tiny_family_encoder("ctrl"))
    assert [name for name, _ in blocks] == ["embeddings", "layer.0", "layer.1", "rest"]
    assert [name for name, _ in blocks[0][1]] == ["w.weight"]
    assert re.search("'ctrl'.*'h' .*'w'", caplog.text)


def test_guessed_layers_without_a_feed_forward_network_are_not_used(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = tiny_family_encoder("xlm")  # its attentions and its feed-forward networks are in separate lists
    monkeypatch.delitem(FAMILIES, "xlm")
    blocks = encoder_blocks(encoder)
    assert [name for name, _ in blocks] == ["rest"]
    assert sorted(name for name, _ in blocks[0][1]) == sorted(name for name, _ in encoder.named_parameters())
    assert re.search("'xlm'.*matrix.*refused", caplog.text)


def test_find_family_knows_no_layers_without_a_list_of_modules(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = build_tiny_encoder("bert")
    encoder.encoder = nn.Identity()
    monkeypatch.setattr(encoder.config, "model_type", "no_such_family")
    assert find_family(encoder).layers == ()
    assert "'no_such_family'" in caplog.text


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_set_dropout_reaches_every_dropout_module(family: str) -> None:
    config = tiny_config(family)
    set_dropout(config, dropout=0.25, attention_dropout=0.5)
    encoder = build_encoder(config)
    probabilities = {module.p for module in encoder.modules() if isinstance(module, nn.Dropout)}
    assert 0.25 in probabilities
    assert probabilities <= {0.25, 0.5}


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_set_dropout_of_zero_makes_training_deterministic(family: str) -> None:
    config = tiny_config(family)
    set_dropout(config, dropout=0.0, attention_dropout=0.0)
    encoder = build_encoder(config).train()
    first, second = (encoder(**tiny_batch()).last_hidden_state for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)


@pytest.mark.parametrize("setting", ["dropout", "attention_dropout"])
@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_either_kind_of_dropout_alone_makes_training_random(family: str, setting: str) -> None:
    config = tiny_config(family)
    set_dropout(config, **({"dropout": 0.0, "attention_dropout": 0.0} | {setting: 0.5}))
    encoder = build_encoder(config).train()
    first, second = (encoder(**tiny_batch()).last_hidden_state for _ in range(2))
    assert not torch.equal(first, second)


def test_set_dropout_of_none_keeps_the_encoders_dropout() -> None:
    config = tiny_config("bert", hidden_dropout_prob=0.3)
    set_dropout(config, dropout=None, attention_dropout=0.2)
    assert (config.hidden_dropout_prob, config.attention_probs_dropout_prob) == (0.3, 0.2)


def test_set_dropout_of_an_unknown_family_uses_known_field_names() -> None:
    config = AutoConfig.for_model("tapas")
    assert "tapas" not in FAMILIES
    set_dropout(config, dropout=0.3, attention_dropout=0.2)
    assert (config.hidden_dropout_prob, config.attention_probs_dropout_prob) == (0.3, 0.2)


def test_set_dropout_refuses_a_family_without_known_fields_but_only_warns_for_attention_dropout_0(
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = tiny_family_config("rwkv")
    assert "rwkv" not in FAMILIES
    for settings in ({"dropout": 0.0, "attention_dropout": None}, {"dropout": None, "attention_dropout": 0.1}):
        with pytest.raises(ValueError, match=r"dropout .*'rwkv'"):
            set_dropout(config, **settings)
    set_dropout(config, dropout=None, attention_dropout=0.0)
    assert re.search("attention dropout.*'rwkv'", caplog.text)


def test_set_dropout_refuses_a_probability_if_the_family_has_no_such_dropout() -> None:
    config = tiny_family_config("llama")
    set_dropout(config, dropout=0.0, attention_dropout=0.25)
    assert config.attention_dropout == 0.25
    with pytest.raises(ValueError, match=r"dropout .*'llama' .*0\.1"):
        set_dropout(config, dropout=0.1, attention_dropout=None)


def test_set_dropout_reports_that_the_attention_dropout_of_t5_cannot_be_set_separately(
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = tiny_family_config("t5")
    set_dropout(config, dropout=0.25, attention_dropout=0.0)
    assert config.dropout_rate == 0.25
    assert re.search("attention dropout.*'t5'", caplog.text)


# modernbert and deberta-v2 use relative positions, so their encoders accept inputs of any length.
# (The config of modernbert has a limit nevertheless.)
@pytest.mark.parametrize("family", [family for family in FAMILY_NAMES if family not in {"modernbert", "deberta-v2"}])
def test_longest_input_is_the_longest_accepted_by_the_encoder(family: str) -> None:
    encoder = build_tiny_encoder(family).eval()
    longest = longest_input(encoder.config)
    assert longest is not None
    encoder(**tiny_batch((longest,)))
    with pytest.raises((IndexError, RuntimeError)):
        encoder(**tiny_batch((longest + 1,)))


@pytest.mark.parametrize("family", ["deberta-v2", "xlnet", "t5", "bloom"])
def test_longest_input_is_none_without_a_table_of_positions(family: str) -> None:
    assert longest_input(tiny_family_config(family)) is None


@pytest.mark.parametrize("family", ["camembert", "data2vec-text", "longformer"])
def test_longest_input_leaves_out_the_positions_that_are_reserved_for_padding(family: str) -> None:
    assert longest_input(tiny_family_config(family, max_position_embeddings=514)) == 512

"""Adapters find the linear layers of attention in every family, and layers by their names."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import nn
from transformers import CONFIG_MAPPING, AutoModel, AutoModelForTextEncoding, PreTrainedModel

from research.model.adapter_targets import TargetError, find_targets
from research.model.adapters import AdapterSettings, inject_adapters, merge_adapters
from tests.research.model.tiny_encoders import FAMILY_NAMES, tiny_model

SMALL: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
    "pad_token_id": 1,
    "bos_token_id": 2,
    "eos_token_id": 3,
}
LLAMA_LIKE = {**SMALL, "num_key_value_heads": 2, "head_dim": 16}
NUMBER = re.compile(r"\.\d+\.")
BERT_LAYERS = ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"]
LLAMA_LAYERS = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"]
OPT_LAYERS = ["self_attn.k_proj", "self_attn.v_proj", "self_attn.q_proj", "self_attn.out_proj"]
T5_LAYERS = ["layer.#.SelfAttention.q", "layer.#.SelfAttention.k", "layer.#.SelfAttention.v", "layer.#.SelfAttention.o"]

FAMILIES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "albert": (SMALL, ["attention.query", "attention.key", "attention.value", "attention.dense"]),
    "bert": (SMALL, BERT_LAYERS),
    "big_bird": ({**SMALL, "attention_type": "original_full"}, BERT_LAYERS),
    "bloom": ({**SMALL, "n_layer": 2, "n_head": 2}, ["self_attention.query_key_value", "self_attention.dense"]),
    "camembert": (SMALL, BERT_LAYERS),
    "convbert": (SMALL, [*BERT_LAYERS[:3], *(f"attention.self.conv_{end}_layer" for end in ("kernel", "out"))]),
    "deberta": (SMALL, ["attention.self.in_proj", "attention.output.dense"]),
    "deberta-v2": (SMALL, [*(f"{name}_proj" for name in BERT_LAYERS[:3]), BERT_LAYERS[3]]),
    "distilbert": (
        {"vocab_size": 50, "n_layers": 2, "n_heads": 2, "dim": 32, "hidden_dim": 48},
        ["attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin"],
    ),
    "electra": (SMALL, BERT_LAYERS),
    "esm": ({**SMALL, "mask_token_id": 4}, BERT_LAYERS),
    "falcon": ({**SMALL}, ["self_attention.query_key_value", "self_attention.dense"]),
    "flaubert": ({"n_words": 50, "emb_dim": 32, "n_layers": 2, "n_heads": 2}, ["q_lin", "k_lin", "v_lin", "out_lin"]),
    "gemma": (LLAMA_LIKE, LLAMA_LAYERS),
    "gemma2": (LLAMA_LIKE, LLAMA_LAYERS),
    "gemma3_text": (LLAMA_LIKE, LLAMA_LAYERS),
    "gpt2": ({"vocab_size": 50, "n_embd": 32, "n_layer": 2, "n_head": 2}, ["attn.c_attn", "attn.c_proj"]),
    "gpt_neo": (
        {**SMALL, "num_layers": 2, "num_heads": 2, "attention_types": [[["global", "local"], 1]]},
        ["attn.attention.k_proj", "attn.attention.v_proj", "attn.attention.q_proj", "attn.attention.out_proj"],
    ),
    "gpt_neox": (SMALL, ["attention.query_key_value", "attention.dense"]),
    "granite": (LLAMA_LIKE, LLAMA_LAYERS),
    "lfm2": (
        {**LLAMA_LIKE, "layer_types": ["conv", "full_attention"]},
        ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj"],
    ),
    "llama": (LLAMA_LIKE, LLAMA_LAYERS),
    "longformer": (
        {**SMALL, "attention_window": 4},
        [*BERT_LAYERS[:3], *(f"{name}_global" for name in BERT_LAYERS[:3]), BERT_LAYERS[3]],
    ),
    "mistral": (LLAMA_LIKE, LLAMA_LAYERS),
    "modernbert": (SMALL, ["attn.Wqkv", "attn.Wo"]),
    "mpnet": (SMALL, ["attention.attn.q", "attention.attn.k", "attention.attn.v", "attention.attn.o"]),
    "mt5": ({**SMALL, "d_model": 32, "d_ff": 48, "d_kv": 16, "num_layers": 2, "num_heads": 2}, T5_LAYERS),
    "olmo2": (LLAMA_LIKE, LLAMA_LAYERS),
    "opt": ({**SMALL, "ffn_dim": 48, "word_embed_proj_dim": 32}, OPT_LAYERS),
    "phi": (SMALL, [*LLAMA_LAYERS[:3], "self_attn.dense"]),
    "phi3": (LLAMA_LIKE, ["self_attn.o_proj", "self_attn.qkv_proj"]),
    "qwen2": (LLAMA_LIKE, LLAMA_LAYERS),
    "qwen3": (LLAMA_LIKE, LLAMA_LAYERS),
    "reformer": (
        {**SMALL, "attn_layers": ["local"], "attention_head_size": 16, "axial_pos_embds": False},
        ["attention.self_attention.query", "attention.self_attention.key", "attention.self_attention.value"],
    ),
    "roberta": (SMALL, BERT_LAYERS),
    "roformer": (SMALL, BERT_LAYERS),
    "smollm3": (LLAMA_LIKE, LLAMA_LAYERS),
    "t5": ({**SMALL, "d_model": 32, "d_ff": 48, "d_kv": 16, "num_layers": 2, "num_heads": 2}, T5_LAYERS),
    "umt5": ({**SMALL, "d_model": 32, "d_ff": 48, "d_kv": 16, "num_layers": 2, "num_heads": 2}, T5_LAYERS),
    "xlm": ({"n_words": 50, "emb_dim": 32, "n_layers": 2, "n_heads": 2}, ["q_lin", "k_lin", "v_lin", "out_lin"]),
    "xlm-roberta": (SMALL, BERT_LAYERS),
}
"""For families of encoders and decoders, fields of a tiny config, and the ends of the names of attention's layers."""
WITHOUT_LINEAR_ATTENTION = {
    "fnet": SMALL,  # mixes tokens with Fourier transforms
    "mamba": {**SMALL, "state_size": 8},
    "xlnet": {"vocab_size": 50, "d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 48},  # weights without layers
}


def build_tiny(family: str, fields: dict[str, Any]) -> PreTrainedModel:
    """Return a tiny encoder of any family of Transformers, on torch's `meta` device."""
    config = CONFIG_MAPPING[family](**fields)
    auto_class: Any = AutoModelForTextEncoding if family in ("t5", "mt5", "umt5") else AutoModel
    with torch.device("meta"):
        encoder: PreTrainedModel = auto_class.from_config(config)
    return encoder


def names_of(encoder: nn.Module) -> set[str]:
    return {name for name, _ in encoder.named_modules()}


@pytest.mark.parametrize("family", FAMILIES)
def test_attention_layers_are_found_by_the_classes_around_them(family: str) -> None:
    fields, ends = FAMILIES[family]
    encoder = build_tiny(family, fields)
    targets = find_targets(encoder, names_of(encoder), "attention")
    found = {NUMBER.sub(".#.", target) for target in targets}
    for end in ends:
        assert any(name.endswith(f".{end}") for name in found), end
    feed_forward = ("intermediate", "mlp", "ffn", "DenseReluDense", "feed_forward", "fc1", "fc2", "ffns", "pooler")
    assert not [name for name in found if set(name.split(".")) & set(feed_forward)]


@pytest.mark.parametrize("family", WITHOUT_LINEAR_ATTENTION)
def test_an_encoder_without_linear_layers_in_attention_is_refused(family: str) -> None:
    encoder = build_tiny(family, WITHOUT_LINEAR_ATTENTION[family])
    with pytest.raises(TargetError, match=r"attention modules.*found none"):
        find_targets(encoder, names_of(encoder), "attention")


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ("*.attention.self.query", ["0.attention.self.query", "1.attention.self.query"]),
        ("value, query", [f"{layer}.attention.self.{name}" for layer in (0, 1) for name in ("query", "value")]),
        (["encoder.layer.1.*.key"], ["1.attention.self.key"]),
        ("encoder.layer.0.output.dense", ["0.output.dense"]),
    ],
)
def test_targets_are_names_globs_and_ends_of_names(targets: str | list[str], expected: list[str]) -> None:
    encoder = tiny_model("bert").encoder
    assert find_targets(encoder, names_of(encoder), targets) == [f"encoder.layer.{name}" for name in expected]


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ("*.qurey", r"'\*\.qurey'.*Did you mean '\*\.query'.*key"),
        ("query,valux", r"'valux'.*Did you mean 'value'"),
        ("attentionn", r"Did you mean 'attention'"),
        (["encoder.layer.0.attention.self"], "no linear layer"),
        ("", "got none"),
        ([], "got none"),
    ],
)
def test_a_target_that_matches_nothing_is_refused_with_near_names(targets: str | list[str], message: str) -> None:
    encoder = tiny_model("bert").encoder
    with pytest.raises(TargetError, match=message):
        find_targets(encoder, names_of(encoder), targets)


def test_only_selected_modules_are_searched() -> None:
    encoder = tiny_model("bert").encoder
    selected = {name for name in names_of(encoder) if ".layer.0." in name}
    assert find_targets(encoder, selected, "query") == ["encoder.layer.0.attention.self.query"]
    with pytest.raises(TargetError, match=r"found none.*Embedding"):
        find_targets(encoder, {"embeddings.word_embeddings"}, "linear")


def test_layers_that_attention_does_not_call_get_no_adapters() -> None:
    encoder = tiny_model("bert").encoder
    encoder.add_module("pooling", nn.MultiheadAttention(32, 2))
    assert "pooling.out_proj" in names_of(encoder)
    assert "pooling.out_proj" not in find_targets(encoder, names_of(encoder), "linear")


@pytest.mark.parametrize("family", ["gpt2", *FAMILY_NAMES])
def test_every_adapter_of_linear_layers_has_an_effect_and_is_merged(family: str) -> None:
    torch.manual_seed(0)
    if family == "gpt2":  # its layers store transposed weights
        config = CONFIG_MAPPING[family](**FAMILIES[family][0])
        encoder = AutoModel.from_config(config)
    else:
        encoder = tiny_model(family).encoder
    layers = {name for name in names_of(encoder) if "pooler" not in name}
    targets = find_targets(encoder, layers, "linear")
    inputs = {"input_ids": torch.tensor([[2, 7, 9, 3, 8], [2, 5, 6, 4, 9]]), "attention_mask": torch.ones(2, 5).long()}
    inject_adapters(encoder, AdapterSettings("lora", targets, {"r": 2, "lora_alpha": 4}))
    for name, parameter in encoder.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.3)
    adapted = encoder.eval()(**inputs).last_hidden_state
    adapted.sin().sum().backward()
    without_effect = [
        name
        for name, parameter in encoder.named_parameters()
        if "lora_" in name and (parameter.grad is None or not parameter.grad.any())
    ]
    assert not without_effect
    merge_adapters(encoder)
    torch.testing.assert_close(encoder(**inputs).last_hidden_state, adapted, rtol=1e-4, atol=1e-4)


def test_errors_of_peft_are_one_line() -> None:
    encoder = build_tiny("mamba", {**SMALL, "state_size": 8})
    targets = find_targets(encoder, names_of(encoder), "linear")
    with pytest.raises(ValueError, match=r"'mamba'.*out_proj") as error:
        inject_adapters(encoder, AdapterSettings("lora", targets, {"r": 2, "lora_alpha": 4}))
    assert "\n" not in str(error.value)

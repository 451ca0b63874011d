"""Tiny encoders with random weights of all families that Midway knows, and of some that it does not know."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel

from research.model.encoder_classes import build_encoder

VOCABULARY_SIZE = 50
PAD = 1
"""Token id of padding."""

_TOKENS: dict[str, Any] = {"bos_token_id": 2, "eos_token_id": 3}
_SIZES: dict[str, Any] = {
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
}
_BERT = {"hidden_size": 32, **_SIZES}
_LLAMA = {**_BERT, **_TOKENS, "num_key_value_heads": 1, "head_dim": 16}
_WITHOUT_HEAD_DIM = {**_BERT, **_TOKENS, "num_key_value_heads": 1}
_GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 40, **_TOKENS}
_XLM = {"n_layers": 2, "n_heads": 2, "emb_dim": 32, "max_position_embeddings": 40, "n_langs": 1}
_MODERNBERT = {
    **_BERT,
    **_TOKENS,
    "global_attn_every_n_layers": 2,
    "local_attention": 8,
    "cls_token_id": 2,
    "sep_token_id": 3,
}
_MAMBA = {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4, "intermediate_size": 64, "time_step_rank": 2}
_T5 = {
    "d_model": 32,
    "d_kv": 16,
    "d_ff": 48,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "num_heads": 2,
    "decoder_start_token_id": 0,
    "eos_token_id": 3,
}
_BART = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 40,
    "decoder_start_token_id": 3,
    "forced_eos_token_id": 3,
    **_TOKENS,
}
_DEBERTA = {**_BERT, "relative_attention": True, "position_biased_input": False, "pos_att_type": ["p2c", "c2p"]}

_FIELDS: dict[str, dict[str, Any]] = {
    "albert": {**_BERT, "embedding_size": 16},
    "bert": _BERT,
    "bert-generation": _BERT,
    "big_bird": {**_BERT, "attention_type": "original_full"},
    "camembert": _BERT,
    "convbert": {**_BERT, "embedding_size": 32, "conv_kernel_size": 3, "head_ratio": 1},
    "data2vec-text": _BERT,
    "deberta": _DEBERTA,
    "deberta-v2": {
        # The settings of DeBERTa-v3, with the convolution of DeBERTa-v2.
        **_DEBERTA,
        "position_buckets": 8,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "conv_kernel_size": 3,
    },
    "distilbert": {"n_layers": 2, "n_heads": 2, "dim": 32, "hidden_dim": 48, "max_position_embeddings": 40},
    "electra": {**_BERT, "embedding_size": 16},
    "ernie": _BERT,
    "esm": {**_BERT, "mask_token_id": 4, "emb_layer_norm_before": True},
    "esmc": _BERT,
    "eurobert": _LLAMA,
    "flaubert": _XLM,
    "gte": _BERT,
    "ibert": _BERT,
    "jina_embeddings_v3": _BERT,
    "layoutlm": _BERT,
    "longformer": {**_BERT, "attention_window": 4},
    "luke": {**_BERT, "entity_vocab_size": 10, "entity_emb_size": 16},
    "markuplm": {**_BERT, "max_depth": 4, "xpath_unit_hidden_size": 8},
    "megatron-bert": _BERT,
    "mobilebert": {
        **_BERT,
        "embedding_size": 32,
        "intra_bottleneck_size": 16,
        "true_hidden_size": 16,
        "num_feedforward_networks": 2,
    },
    "modernbert": _MODERNBERT,
    "mpnet": _BERT,
    "nomic_bert": _BERT,
    "nystromformer": {**_BERT, "num_landmarks": 8, "segment_means_seq_len": 8},
    "rembert": {**_BERT, "input_embedding_size": 16, "output_embedding_size": 16},
    "roberta": _BERT,
    "roberta-prelayernorm": _BERT,
    "roc_bert": {
        **_BERT,
        "pronunciation_vocab_size": 50,
        "shape_vocab_size": 50,
        "pronunciation_embed_dim": 16,
        "shape_embed_dim": 16,
    },
    "roformer": {**_BERT, "embedding_size": 32},
    "splinter": _BERT,
    "squeezebert": {
        **_BERT,
        "embedding_size": 32,
        "q_groups": 2,
        "k_groups": 2,
        "v_groups": 2,
        "post_attention_groups": 1,
        "intermediate_groups": 2,
        "output_groups": 2,
    },
    "xlm": _XLM,
    "xlm-roberta": _BERT,
    "xlm-roberta-xl": _BERT,
    "xlnet": {"d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 48},
    "xmod": {**_BERT, "languages": ["en_XX"], "default_language": "en_XX"},
    "yoso": {**_BERT, "num_hash": 2, "hash_code_len": 4, "use_expectation": True},
    # Decoders
    "apertus": _LLAMA,
    "arcee": _LLAMA,
    "biogpt": {**_BERT, **_TOKENS},
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 2, **_TOKENS},
    "codegen": {**_GPT2, "n_head": 4, "rotary_dim": 8},
    "cohere": _LLAMA,
    "cohere2": _LLAMA,
    "ctrl": {**_GPT2, "dff": 48},
    "ernie4_5": _LLAMA,
    "exaone4": _LLAMA,
    "falcon": {**_BERT, **_TOKENS, "ffn_hidden_size": 48},
    "falcon_mamba": _MAMBA,
    "gemma": _LLAMA,
    "gemma2": {**_LLAMA, "sliding_window": 8},
    "gemma3_text": {**_LLAMA, "layer_types": ["sliding_attention", "full_attention"], "sliding_window": 8},
    "glm": _LLAMA,
    "glm4": _LLAMA,
    "gpt2": _GPT2,
    "gpt_bigcode": _GPT2,
    "gpt_neo": {
        "hidden_size": 32,
        "num_layers": 2,
        "num_heads": 2,
        "max_position_embeddings": 40,
        "attention_types": [[["global", "local"], 1]],
        "window_size": 8,
        **_TOKENS,
    },
    "gpt_neox": {**_BERT, **_TOKENS},
    "gpt_oss": _LLAMA,
    "gptj": {**_GPT2, "rotary_dim": 8},
    "granite": _LLAMA,
    "granitemoe": _LLAMA,
    "helium": {**_LLAMA, "num_key_value_heads": 2},
    "hunyuan_v1_dense": _LLAMA,
    "jamba": {
        **_LLAMA,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "expert_layer_period": 2,
        "num_experts": 2,
        "mamba_d_state": 4,
        "mamba_dt_rank": 2,
        "use_mamba_kernels": False,
    },
    "lfm2": {
        **_LLAMA,
        "full_attn_idxs": [1],
        "layer_types": ["conv", "full_attention"],
        "block_ff_dim": 48,
        "block_auto_adjust_ff_dim": False,
    },
    "llama": _LLAMA,
    "mamba": _MAMBA,
    "mamba2": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "state_size": 4,
        "num_heads": 4,
        "head_dim": 16,
        "n_groups": 1,
        "chunk_size": 8,
    },
    "ministral": _LLAMA,
    "ministral3": _LLAMA,
    "mistral": _LLAMA,
    "mixtral": _LLAMA,
    "modernbert-decoder": _MODERNBERT,
    "mpt": {"d_model": 32, "n_heads": 2, "n_layers": 2, "max_seq_len": 40, "expansion_ratio": 2},
    "nanochat": _LLAMA,
    "nemotron": _LLAMA,
    "olmo": _LLAMA,
    "olmo2": _LLAMA,
    "olmo3": _LLAMA,
    "olmoe": _LLAMA,
    "openai-gpt": _GPT2,
    "opt": {
        "hidden_size": 32,
        "word_embed_proj_dim": 32,
        "ffn_dim": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 40,
        **_TOKENS,
    },
    "persimmon": _WITHOUT_HEAD_DIM,
    "phi": _WITHOUT_HEAD_DIM,
    "phi3": _LLAMA,
    "qwen2": _LLAMA,
    "qwen2_moe": _LLAMA,
    "qwen3": _LLAMA,
    "qwen3_moe": _LLAMA,
    "rwkv": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "attention_hidden_size": 32,
        "intermediate_size": 48,
        "context_length": 40,
    },
    "seed_oss": _LLAMA,
    "smollm3": _LLAMA,
    "stablelm": _WITHOUT_HEAD_DIM,
    "starcoder2": _LLAMA,
    "ultrabert": _BERT,
    "xglm": {"d_model": 32, "ffn_dim": 48, "num_layers": 2, "attention_heads": 2, "max_position_embeddings": 40},
    # Encoder-decoders
    "bart": _BART,
    "blenderbot": _BART,
    "led": {
        **_BART,
        "max_encoder_position_embeddings": 40,
        "max_decoder_position_embeddings": 40,
        "attention_window": [4, 4],
    },
    "longt5": {**_T5, "local_radius": 4, "encoder_attention_type": "local"},
    "m2m_100": _BART,
    "marian": _BART,
    "mbart": _BART,
    "mt5": _T5,
    "mvp": _BART,
    "pegasus": _BART,
    "plbart": _BART,
    "switch_transformers": {**_T5, "num_experts": 2, "num_sparse_encoder_layers": 1, "router_jitter_noise": 0.0},
    "t5": _T5,
    "umt5": _T5,
}
"""For each family, fields of its tiny encoder's config."""
TINY_FAMILIES = tuple(_FIELDS)
"""Names of all families."""


def tiny_family_config(family: str, **changed: Any) -> PretrainedConfig:
    """Return the config of a tiny encoder; `changed` overrides some of its values."""
    fields = {"vocab_size": VOCABULARY_SIZE, "pad_token_id": PAD, **_FIELDS[family], **changed}
    config: PretrainedConfig = AutoConfig.for_model(family, **fields)
    return config


def tiny_family_encoder(family: str, *, std: float = 0.2, **changed: Any) -> PreTrainedModel:
    """Return a tiny encoder in evaluation mode. Its matrices are random, and larger than those of a new encoder."""
    torch.manual_seed(0)
    encoder = build_encoder(tiny_family_config(family, **changed))
    for parameter in encoder.parameters():
        if parameter.ndim > 1 and parameter.dtype == torch.float32:
            nn.init.normal_(parameter, std=std)
    return encoder.eval()

"""The families of encoders that Midway knows, with the names of their parts and the way they number positions.

Every entry is tested on a tiny encoder with random weights (tests/research/model/test_families.py), and
`python tests/scripts/family_table.py` prints what each family supports.
"""

from __future__ import annotations

from dataclasses import replace

from research.model.family import Family, Positions

_BERT = Family(embeddings=("embeddings",), layers=("encoder.layer",))
_WITH_POOLER = replace(_BERT, unused=("pooler.*",))  # without an argument to leave the pooler out
_ROBERTA = replace(_BERT, positions=Positions.AFTER_PADDING_ID)
_XLM = Family(
    embeddings=("embeddings", "position_embeddings", "lang_embeddings", "layer_norm_emb"),
    layers=("attentions", "layer_norm1", "ffns", "layer_norm2"),
    dropout=("dropout",),
    attention_dropout=("attention_dropout",),
)
_ROTARY_BERT = Family(embeddings=("embeddings",), layers=("layers",))
_ROTARY_ENCODER = Family(
    embeddings=("embed_tokens",), layers=("layers",), dropout=(), attention_dropout=("attention_dropout",)
)
_MODERNBERT = Family(
    embeddings=("embeddings",),
    layers=("layers",),
    dropout=("embedding_dropout", "mlp_dropout"),
    attention_dropout=("attention_dropout",),
)
_LLAMA = replace(_ROTARY_ENCODER, is_causal=True)
_PHI = replace(_LLAMA, dropout=("resid_pdrop", "embd_pdrop"))
_HIDDEN_DROPOUT = replace(_LLAMA, dropout=("hidden_dropout",))
_GPT2 = Family(
    embeddings=("wte", "wpe"),
    layers=("h",),
    dropout=("resid_pdrop", "embd_pdrop"),
    attention_dropout=("attn_pdrop",),
    is_causal=True,
)
_BLOOM = Family(
    embeddings=("word_embeddings", "word_embeddings_layernorm"),
    layers=("h",),
    dropout=("hidden_dropout",),
    attention_dropout=("attention_dropout",),
    positions=Positions.RELATIVE,
    is_causal=True,
)
_MAMBA = Family(
    embeddings=("embeddings",),
    layers=("layers",),
    dropout=(),
    attention_dropout=(),
    positions=Positions.RELATIVE,
    is_causal=True,
    always_causal=True,
)
# The dropout of T5 covers attention weights, too.
_T5 = Family(
    embeddings=("shared",),
    layers=("encoder.block",),
    dropout=("dropout_rate",),
    attention_dropout=None,
    positions=Positions.RELATIVE,
)
_T5_STACK = replace(_T5, embeddings=("embed_tokens",), layers=("block",))  # without a class for the encoder alone
_BART = Family(
    embeddings=("embed_tokens", "embed_positions", "layernorm_embedding"),
    layers=("layers",),
    dropout=("dropout", "activation_dropout"),
    attention_dropout=("attention_dropout",),
    positions=Positions.FROM_LEFT_END,
)

FAMILIES: dict[str, Family] = {
    # Encoders
    "albert": replace(
        _BERT,
        embeddings=("embeddings", "encoder.embedding_hidden_mapping_in"),
        layers=("encoder.albert_layer_groups",),
        shares_layers=True,
    ),
    "bert": _BERT,
    "bert-generation": _BERT,
    "big_bird": _BERT,
    "camembert": _ROBERTA,
    "convbert": replace(_BERT, embeddings=("embeddings", "embeddings_project")),
    "data2vec-text": _ROBERTA,
    "deberta": _BERT,
    "deberta-v2": _BERT,
    "distilbert": Family(
        embeddings=("embeddings",),
        layers=("transformer.layer",),
        dropout=("dropout",),
        attention_dropout=("attention_dropout",),
    ),
    "electra": replace(_BERT, embeddings=("embeddings", "embeddings_project")),
    "ernie": _BERT,
    "esm": replace(_ROBERTA, unused=("contact_head.*",)),
    "esmc": _ROTARY_ENCODER,
    "eurobert": _ROTARY_ENCODER,
    "flaubert": _XLM,
    "gte": _ROTARY_BERT,
    "ibert": _ROBERTA,
    "jina_embeddings_v3": _ROTARY_BERT,
    "layoutlm": _WITH_POOLER,
    "longformer": _ROBERTA,
    "luke": replace(_ROBERTA, unused=("entity_embeddings.*", "encoder.layer.*.attention.self.*_query.*")),
    "markuplm": replace(_ROBERTA, unused=("embeddings.xpath_embeddings.xpath_unitseq2_embeddings.*",)),
    "megatron-bert": _BERT,
    "mobilebert": _BERT,
    "modernbert": _MODERNBERT,
    "mpnet": _ROBERTA,
    "nomic_bert": _ROTARY_BERT,
    "nystromformer": replace(_BERT, attention_dropout=()),
    "rembert": replace(_BERT, embeddings=("embeddings", "encoder.embedding_hidden_mapping_in")),
    "roberta": _ROBERTA,
    "roberta-prelayernorm": _ROBERTA,
    "roc_bert": _BERT,
    "roformer": replace(
        _BERT,
        embeddings=("embeddings", "embeddings_project", "encoder.embed_positions"),
        positions=Positions.FROM_LEFT_END,
    ),
    "splinter": _BERT,
    "squeezebert": replace(_WITH_POOLER, layers=("encoder.layers",)),
    "xlm": _XLM,
    "xlm-roberta": _ROBERTA,
    "xlm-roberta-xl": _ROBERTA,
    "xlnet": Family(
        embeddings=("word_embedding",),
        layers=("layer",),
        dropout=("dropout",),
        attention_dropout=None,  # its dropout covers attention weights, too
        positions=Positions.RELATIVE,
        unused=("mask_emb",),
    ),
    "xmod": _ROBERTA,
    "yoso": replace(_BERT, attention_dropout=()),
    # Decoders
    "apertus": _LLAMA,
    "arcee": _LLAMA,
    "biogpt": replace(
        _LLAMA,
        embeddings=("embed_tokens", "embed_positions"),
        dropout=("hidden_dropout_prob", "activation_dropout"),
        attention_dropout=("attention_probs_dropout_prob",),
    ),
    "bloom": _BLOOM,
    "codegen": _GPT2,
    "cohere": _LLAMA,
    "cohere2": _LLAMA,
    "ernie4_5": replace(_LLAMA, attention_dropout=()),
    "exaone4": _LLAMA,
    # Its fused attention has no dropout.
    "falcon": replace(_BLOOM, embeddings=("word_embeddings",), attention_dropout=(), positions=Positions.FROM_ZERO),
    "falcon_mamba": replace(_MAMBA, uncalled=("*.dt_proj",)),
    "gemma": _LLAMA,
    "gemma2": _LLAMA,
    "gemma3_text": _LLAMA,
    "glm": _LLAMA,
    "glm4": _LLAMA,
    "gpt2": _GPT2,
    "gpt_bigcode": _GPT2,
    "gpt_neo": replace(
        _GPT2,
        dropout=("resid_dropout", "embed_dropout"),
        attention_dropout=("attention_dropout",),
        always_causal=True,
    ),
    "gpt_neox": replace(_HIDDEN_DROPOUT, embeddings=("embed_in",)),
    "gpt_oss": _LLAMA,
    "gptj": _GPT2,
    "granite": _LLAMA,
    "granitemoe": _LLAMA,
    "helium": _LLAMA,
    "hunyuan_v1_dense": _LLAMA,
    "jamba": replace(_LLAMA, uncalled=("*.dt_proj",)),
    "lfm2": replace(_LLAMA, attention_dropout=()),
    "llama": _LLAMA,
    "mamba": replace(_MAMBA, uncalled=("*.dt_proj",)),
    "mamba2": _MAMBA,
    "ministral": _LLAMA,
    "ministral3": _LLAMA,
    "mistral": _LLAMA,
    "mixtral": _LLAMA,
    "modernbert-decoder": replace(_MODERNBERT, is_causal=True),
    "mpt": replace(
        _BLOOM,
        embeddings=("wte",),
        layers=("blocks",),
        dropout=(),
        attention_dropout=(),
        always_causal=True,
    ),
    "nanochat": _LLAMA,
    "nemotron": _LLAMA,
    "olmo": _LLAMA,
    "olmo2": _LLAMA,
    "olmo3": _LLAMA,
    "olmoe": _LLAMA,
    "openai-gpt": replace(_GPT2, embeddings=("tokens_embed", "positions_embed"), always_causal=True),
    "opt": replace(
        _LLAMA,
        embeddings=("decoder.embed_tokens", "decoder.embed_positions", "decoder.project_in"),
        layers=("decoder.layers",),
        dropout=("dropout",),
    ),
    "persimmon": _HIDDEN_DROPOUT,
    "phi": _PHI,
    "phi3": _PHI,
    "qwen2": _LLAMA,
    "qwen2_moe": _LLAMA,
    "qwen3": _LLAMA,
    "qwen3_moe": _LLAMA,
    "seed_oss": replace(_LLAMA, dropout=("residual_dropout",)),
    "smollm3": _LLAMA,
    "stablelm": _HIDDEN_DROPOUT,
    "starcoder2": replace(_LLAMA, dropout=("residual_dropout", "embedding_dropout")),
    "xglm": replace(_LLAMA, dropout=("dropout", "activation_dropout")),
    # Encoders of encoder-decoders
    "bart": _BART,
    "blenderbot": _BART,
    "led": _BART,
    "longt5": _T5_STACK,
    "m2m_100": _BART,
    "marian": _BART,
    "mbart": _BART,
    "mt5": _T5,
    "mvp": _BART,
    "pegasus": _BART,
    "plbart": _BART,
    "switch_transformers": _T5_STACK,
    "t5": _T5,
    "umt5": _T5,
}
"""Families by their `model_type`; a plugin may add its own."""

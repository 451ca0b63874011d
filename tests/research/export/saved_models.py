"""Tiny models of several families, as if loaded from a run directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedTokenizerBase

from research.inference.saved_model import SavedModel
from research.model.encoder_with_head import EncoderWithHead, EncoderWithHeadConfig
from research.model.input_settings import InputSettings
from research.tasks.base import TASKS
from tests.research.data.batches.tokenizers_by_family import FAMILIES as TOKENIZERS
from tests.research.model.tiny_encoders import CONFIG_FIELDS, tiny_config

EXPORTED_FAMILIES = ("bert", "distilbert", "roberta", "modernbert", "deberta-v2", "qwen2")
"""Families that are exported with every head: five encoders and a decoder."""
MAX_LENGTH = 38
"""Maximum length that all families accept."""


def tiny_saved_model(
    family: str = "bert",
    head: str = "linear",
    task: str = "single_label",
    *,
    padding_side: str = "right",
    **config: Any,
) -> SavedModel:
    """Return a model with random weights: three layers, hidden size 32, three labels (one for regression).

    Args:
        family: family of the encoder.
        head: name of the head.
        task: name of the task.
        padding_side: where the tokenizer puts padding.
        **config: further fields of the model's config.
    """
    tokenizer = _tokenizer(family)
    tokenizer.padding_side = padding_side
    num_labels = 1 if task == "regression" else 3
    names = {index: f"label {index}" for index in range(num_labels)}
    torch.manual_seed(0)
    model = EncoderWithHead(
        EncoderWithHeadConfig(
            encoder=_encoder_config(family, vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id),
            head=head,
            max_input_length=MAX_LENGTH,
            problem_type=TASKS[task].transformers_name,
            id2label=names,
            label2id={name: index for index, name in names.items()},
            **config,
        )
    )
    inputs = InputSettings.from_config({"task": task, **config.get("inputs", {})})
    return SavedModel(
        Path(f"tiny-{family}"),
        None,
        model.eval(),
        tokenizer,
        TASKS[task](label_names=tuple(names.values()), thresholds=tuple(config.get("thresholds") or ())),
        inputs,
    )


def _tokenizer(family: str) -> PreTrainedTokenizerBase:
    return TOKENIZERS[{"deberta-v2": "deberta_v2", "qwen2": "modernbert"}.get(family, family)]()


def _encoder_config(family: str, **fields: Any) -> Any:
    if family == "qwen2":
        return AutoConfig.for_model(
            "qwen2",
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=3,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=40,
            **fields,
        )
    num_layers = "n_layers" if family == "distilbert" else "num_hidden_layers"
    assert num_layers in CONFIG_FIELDS[family]
    return tiny_config(family, **{num_layers: 3}, **fields)

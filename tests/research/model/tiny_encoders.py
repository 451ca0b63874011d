"""Tiny encoders of all families, and a small head."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, PretrainedConfig

from heads.base import EncoderSpec, Head, register_head
from research.model.encoder_with_head import EncoderWithHead, EncoderWithHeadConfig
from tests.builders.tiny_families import tiny_family_config

VOCABULARY_SIZE = 50
PAD = 1
"""Token id of padding."""

BERT_LIKE = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48, "max_position_embeddings": 40}
CONFIG_FIELDS: dict[str, dict[str, Any]] = {
    "albert": {**BERT_LIKE, "embedding_size": 16},
    "bert": BERT_LIKE,
    "deberta-v2": {
        **BERT_LIKE,
        # The settings of DeBERTa-v3, with the convolution of DeBERTa-v2.
        "relative_attention": True,
        "position_buckets": 8,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_biased_input": False,
        "conv_kernel_size": 3,
    },
    "distilbert": {"n_layers": 2, "n_heads": 2, "dim": 32, "hidden_dim": 48, "max_position_embeddings": 40},
    "electra": {**BERT_LIKE, "embedding_size": 16},
    "modernbert": {
        **BERT_LIKE,
        "global_attn_every_n_layers": 2,
        "local_attention": 8,
        "bos_token_id": 2,
        "cls_token_id": 2,
        "eos_token_id": 3,
        "sep_token_id": 3,
    },
    "mpnet": BERT_LIKE,
    "roberta": BERT_LIKE,
    "xlm-roberta": BERT_LIKE,
}
"""For each family, fields of its tiny encoder's config."""
FAMILY_NAMES = sorted(CONFIG_FIELDS)


def tiny_config(family: str, **changed: Any) -> PretrainedConfig:
    """Return the config of a tiny encoder; `changed` overrides some of its values."""
    if family not in CONFIG_FIELDS:
        return tiny_family_config(family, **changed)
    fields = {"vocab_size": VOCABULARY_SIZE, "pad_token_id": PAD, "hidden_size": 32, **CONFIG_FIELDS[family], **changed}
    if family == "distilbert":
        del fields["hidden_size"]  # its field is named dim
    config: PretrainedConfig = AutoConfig.for_model(family, **fields)
    return config


class Probe(Head):
    """A linear layer on the mean over tokens, with an unusual initialisation.

    `shift` is an option of type bool: whether a buffer adds 1 to all logits.
    """

    shift: Tensor

    def __init__(self, encoder: EncoderSpec, num_labels: int, *, initial_bias: float = 7.0, shift: bool = True) -> None:
        super().__init__()
        self.out = nn.Linear(encoder.hidden_size, num_labels)
        nn.init.uniform_(self.out.weight, 2.0, 3.0)
        nn.init.constant_(self.out.bias, initial_bias)
        self.register_buffer("shift", torch.full((num_labels,), float(shift)))

    def logits_of(self, hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
        weights = attention_mask.to(hidden_states.dtype).unsqueeze(-1)
        mean = (hidden_states * weights).sum(1) / weights.sum(1).clamp_min(1)
        return self.out(mean) + self.shift


@register_head("probe")
class ProbeHead(Probe):
    """The probe on the last hidden states."""

    def forward(self, hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
        return self.logits_of(hidden_states, attention_mask)


@register_head("all_layers_probe")
class AllLayersProbeHead(Probe):
    """The probe on the sum of all hidden states, which must be passed as a tuple."""

    wants = "all_hidden_states"

    def __init__(self, encoder: EncoderSpec, num_labels: int) -> None:
        super().__init__(encoder, num_labels)
        self.num_hidden_states = encoder.num_hidden_states

    def forward(self, hidden_states: tuple[Tensor, ...], attention_mask: Tensor) -> Tensor:
        assert isinstance(hidden_states, tuple)
        assert len(hidden_states) == self.num_hidden_states
        return self.logits_of(torch.stack(hidden_states).sum(0), attention_mask)


def tiny_model(
    family: str, head: str = "probe", num_labels: int = 3, task: str = "single_label", **options: Any
) -> EncoderWithHead:
    """Return a tiny encoder with a head; `options` are options of the head."""
    torch.manual_seed(0)
    return EncoderWithHead(
        EncoderWithHeadConfig(
            encoder=tiny_config(family),
            head=head,
            head_options=options,
            problem_type=task if task == "regression" else f"{task}_classification",
            id2label={index: f"label {index}" for index in range(num_labels)},
            label2id={f"label {index}": index for index in range(num_labels)},
        )
    )


def tiny_batch(lengths: tuple[int, ...] = (9, 5, 1)) -> dict[str, Tensor]:
    """Return random inputs, one row for each length in tokens, padded on the right."""
    generator = torch.Generator().manual_seed(1)
    input_ids = torch.randint(4, VOCABULARY_SIZE, (len(lengths), max(lengths)), generator=generator)
    attention_mask = (torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)).long()
    return {"input_ids": input_ids.where(attention_mask.bool(), PAD), "attention_mask": attention_mask}

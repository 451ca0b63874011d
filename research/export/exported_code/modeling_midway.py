"""A pretrained encoder with a custom head, trained with Midway.

classify = pipeline("text-classification", model="<this folder>", trust_remote_code=True)
"""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from heads.base import EncoderSpec
from research.export.exported_code.head_and_cleaning import CLEANING_STEPS, HeadClass
from research.export.exported_code.truncation import truncate
from research.model.encoder_classes import build_encoder, hidden_size_of
from research.model.encoder_inputs import accepted_inputs, as_attention_mask, complete_inputs
from research.model.encoder_outputs import hidden_states_of
from research.model.encoder_with_head import EncoderWithHeadConfig
from research.model.shared_parameters import shared_parameters


class EncoderWithHeadForSequenceClassification(PreTrainedModel):
    """The encoder and its head. Rows that are longer than `config.max_input_length` are truncated as in training.

    Args:
        config: the model's config.
    """

    config_class = EncoderWithHeadConfig
    base_model_prefix = "encoder"
    main_input_name = "input_ids"
    logit_shift: Tensor
    logit_scale: Tensor
    # Transformers checks these on the whole model. The encoder, which is built separately, checks its own support.
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True

    def __init__(self, config: EncoderWithHeadConfig) -> None:
        super().__init__(config)
        encoder = config.encoder
        assert encoder is not None
        assert config.num_labels is not None
        self.encoder = build_encoder(encoder)
        spec = EncoderSpec(hidden_size=hidden_size_of(encoder), num_hidden_states=encoder.num_hidden_layers + 1)
        self.head = HeadClass(spec, config.num_labels, **config.head_options)
        # The logits are the head's outputs times logit_scale plus logit_shift.
        shift, scale = config.output_units or ([0.0] * config.num_labels, [1.0] * config.num_labels)
        self.register_buffer("logit_shift", torch.tensor(shift))
        self.register_buffer("logit_scale", torch.tensor(scale))
        self.accepted_inputs = accepted_inputs(self.encoder)
        self.loss_type = "ForSequenceClassification"
        self.post_init()
        # The weights file contains a parameter of the head with several names only once.
        shared = shared_parameters(self.head, "head")
        self._tied_weights_keys = {f"^{re.escape(name)}$": first for name, first in shared.items()}
        self.all_tied_weights_keys = {**self.all_tied_weights_keys, **shared}

    def _init_weights(self, module: nn.Module) -> None:
        """Do nothing: all weights are loaded."""

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> SequenceClassifierOutput:
        """Return the logits, and the mean loss if there are labels.

        Args:
            input_ids: token ids, [batch, seq]. Rows may be longer than `config.max_input_length`.
            attention_mask: 1 = token, 0 = padding, [batch, seq]; all 1 by default.
            token_type_ids: 0 = first text, 1 = second text, [batch, seq]; ignored if the encoder does not use them.
            labels: labels, [batch] or [batch, num_labels], depending on `config.problem_type`.
        """
        inputs = self.truncate(input_ids, as_attention_mask(attention_mask, input_ids), token_type_ids)
        mask = inputs.pop("attention_mask")
        complete = complete_inputs(inputs, mask, self.accepted_inputs, self.config.first_position)
        needs_all_layers = HeadClass.wants == "all_hidden_states"
        encoded = self.encoder(**complete, output_hidden_states=needs_all_layers, return_dict=True)
        outputs_of_head = self.head(hidden_states_of(encoded, mask, all_layers=needs_all_layers), mask)
        logits = outputs_of_head * self.logit_scale + self.logit_shift
        loss = None if labels is None else self.loss_function(labels, logits, self.config)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def truncate(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None) -> dict[str, Tensor]:
        """Return the inputs of the encoder, with at most `config.max_input_length` tokens in each row."""
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        if token_type_ids is not None:
            inputs["token_type_ids"] = token_type_ids
        config = self.config
        return truncate(
            inputs,
            max_length=config.max_input_length,
            truncation=config.truncation,
            special_tokens=config.special_tokens,
        )

    def clean(self, text: str) -> str:
        """Clean a text as in training. A pipeline does not do this: call it on each text before."""
        for step in CLEANING_STEPS:
            text = step(text)
        return text

"""Learned embeddings in front of the tokens of every row (prompt tuning), implemented with the PEFT library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from research.system.bitsandbytes_messages import mute_missing_kernels

PROMPT_TUNING = "prompt_tuning"
"""Name of this kind of adapters, and of the module in the encoder with the learned embeddings."""


def add_prompt(encoder: PreTrainedModel, options: Mapping[str, Any]) -> None:
    """Add the learned embeddings to an encoder, which does not use them by itself: see `Prompt`.

    Args:
        encoder: the encoder.
        options: options of PEFT's PromptTuningConfig.
    """
    mute_missing_kernels()  # PEFT imports bitsandbytes if it is installed
    from peft import PromptEmbedding, PromptTuningConfig

    words = encoder.get_input_embeddings()
    assert isinstance(words, nn.Embedding)
    config = PromptTuningConfig(token_dim=words.embedding_dim, num_transformer_submodules=1, **options)
    # On the CPU, so that the same seed gives the same embeddings on every device.
    with torch.device("meta" if encoder.device.type == "meta" else "cpu"):
        prompt: nn.Module = PromptEmbedding(config, words)  # type: ignore[no-untyped-call]
    encoder.add_module(PROMPT_TUNING, prompt.to(encoder.device))


def count_virtual_tokens(encoder: nn.Module) -> int:
    """Return the number of learned embeddings in front of each row; 0 without prompt tuning."""
    prompt: Any = encoder._modules.get(PROMPT_TUNING)
    return 0 if prompt is None else int(prompt.embedding.num_embeddings)


@dataclass(frozen=True)
class Prompt:
    """The virtual tokens of a batch: they come right before the first token of each row, after padding on the left."""

    embeddings: Tensor
    """The learned embeddings, [num_virtual, embedding]."""
    start: Int[Tensor, "batch 1"]
    """Place of the first token of each row."""
    places: Int[Tensor, "batch extended"]
    """For each place of the longer rows, its place in the concatenation of the virtual tokens and the row."""
    token_places: Int[Tensor, "batch seq"]
    """Place of each token in the longer rows."""

    @classmethod
    def of(cls, encoder: nn.Module, mask: Int[Tensor, "batch seq"]) -> Prompt | None:
        """Return the virtual tokens of an encoder; None if it has none.

        Args:
            encoder: the encoder.
            mask: 1 = token, 0 = padding, [batch, seq].
        """
        num_virtual = count_virtual_tokens(encoder)
        if num_virtual == 0:
            return None
        prompt: Any = encoder._modules[PROMPT_TUNING]
        indices = torch.arange(num_virtual + mask.shape[1], device=mask.device)
        start = mask.argmax(1, keepdim=True)  # [batch, 1], amount of padding on the left
        padding, virtual = indices < start, (indices >= start) & (indices < start + num_virtual)  # [batch, extended]
        places = torch.where(padding, indices + num_virtual, torch.where(virtual, indices - start, indices))
        tokens = indices[: mask.shape[1]]
        token_places = torch.where(tokens < start, tokens, tokens + num_virtual)
        return cls(prompt(indices[:num_virtual]), start, places, token_places)

    def extend(self, values: Tensor, virtual: int) -> Tensor:
        """Return values of tokens, [batch, seq], as [batch, extended].

        Args:
            values: one value for each token.
            virtual: value of all virtual tokens.
        """
        return torch.cat([values.new_full((len(values), len(self.embeddings)), virtual), values], 1).gather(
            1, self.places
        )

    def extend_inputs(self, encoder: PreTrainedModel, inputs: Mapping[str, Tensor | None]) -> dict[str, Tensor | None]:
        """Return the inputs of the longer rows, with `inputs_embeds` instead of `input_ids`.

        Args:
            encoder: the encoder, whose embeddings are used.
            inputs: input_ids or inputs_embeds, and possibly token_type_ids and position_ids, [batch, seq].
        """
        embeds, ids = inputs.get("inputs_embeds"), inputs.get("input_ids")
        if embeds is None:
            assert ids is not None
            embeds = encoder.get_input_embeddings()(ids)
        assert embeds is not None
        virtual = self.embeddings.to(embeds.dtype).expand(len(embeds), -1, -1)
        extended = torch.cat([virtual, embeds], 1)  # [batch, extended, embedding]
        longer: dict[str, Tensor | None] = {"inputs_embeds": _gather(extended, self.places)}
        types, positions = inputs.get("token_type_ids"), inputs.get("position_ids")
        if types is not None:
            longer["token_type_ids"] = self.extend(types, 0)
        if positions is not None:
            # The virtual tokens get the positions of the first tokens, and the tokens the positions after them.
            num_virtual = len(self.embeddings)
            start = positions.gather(1, self.start)  # [batch, 1]
            numbers = start + torch.arange(num_virtual, device=positions.device)
            is_token = torch.arange(positions.shape[1], device=positions.device) >= self.start
            moved = torch.where(is_token, positions + num_virtual, positions)
            longer["position_ids"] = torch.cat([numbers, moved], 1).gather(1, self.places)
        return longer

    def remove_from(self, encoded: BaseModelOutput) -> None:
        """Remove the virtual tokens from the hidden states of an encoder's output."""
        if encoded.last_hidden_state is not None:
            encoded.last_hidden_state = _gather(encoded.last_hidden_state, self.token_places)
        if encoded.hidden_states is not None:
            encoded.hidden_states = tuple(_gather(layer, self.token_places) for layer in encoded.hidden_states)


def _gather(states: Tensor, places: Tensor) -> Tensor:
    """Return the states, [batch, any, hidden], at places, [batch, wanted]."""
    return states.gather(1, places.unsqueeze(-1).expand(-1, -1, states.shape[-1]))

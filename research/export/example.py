"""Random inputs, for tracing a model and for checking what was exported."""

from __future__ import annotations

import torch
from torch import Tensor

from research.inference.saved_model import SavedModel


def input_names(saved: SavedModel) -> list[str]:
    """Return the names of the inputs: token_type_ids only if the encoder takes them and the tokenizer returns them."""
    names = ["input_ids", "attention_mask"]
    if "token_type_ids" in saved.model.accepted_inputs and "token_type_ids" in saved.tokenizer.model_input_names:
        names.append("token_type_ids")
    return names


def random_inputs(saved: SavedModel, num_rows: int, length: int) -> dict[str, Tensor]:
    """Return inputs with random tokens and, in all rows but the first, padding where the tokenizer puts it.

    Args:
        saved: the model.
        num_rows: number of rows in the batch.
        length: number of tokens and padding in each row.
    Returns:
        The inputs by name, [num_rows, length] int64 each.
    """
    encoder = saved.model.encoder.config
    generator = torch.Generator().manual_seed(0)
    num_tokens = torch.randint(1, length + 1, (num_rows, 1), generator=generator)
    num_tokens[0] = length
    attention_mask = (torch.arange(length) < num_tokens).long()
    if saved.collator.pads_left:
        attention_mask = attention_mask.flip(1)
    token_ids = torch.randint(encoder.vocab_size, (num_rows, length), generator=generator)
    num_types = max(1, getattr(encoder, "type_vocab_size", 1))
    inputs = {
        "input_ids": token_ids.where(attention_mask.bool(), saved.tokenizer.pad_token_id),
        "attention_mask": attention_mask,
        "token_type_ids": torch.randint(num_types, (num_rows, length), generator=generator) * attention_mask,
    }
    return {name: inputs[name] for name in input_names(saved)}

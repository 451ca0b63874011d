"""Random token ids, for checks that run an encoder."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedModel


def random_token_ids(encoder: PreTrainedModel, num_rows: int, num_tokens: int, generator: torch.Generator) -> Tensor:
    """Return random token ids that an encoder accepts, except padding, [num_rows, num_tokens], on the CPU."""
    num_ids: int = encoder.config.vocab_size
    ids = torch.randint(num_ids, (num_rows, num_tokens), generator=generator)
    padding_id = getattr(encoder.config, "pad_token_id", None)
    return ids if padding_id is None else ids.where(ids != padding_id, (padding_id + 1) % num_ids)

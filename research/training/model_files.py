"""Save the model and its tokenizer in a folder that `from_pretrained` can load."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from research.model.base_dtype import saved_state_dict
from research.model.encoder_with_head import EncoderWithHead
from research.system import durable
from research.system.waiting import WaitingMessage


def save_model(
    model: EncoderWithHead,
    tokenizer: PreTrainedTokenizerBase,
    directory: Path,
    weights: Mapping[str, Tensor] | None = None,
) -> None:
    """Save model and tokenizer. An existing folder is replaced once everything is on disk.

    Args:
        model: the bare model.
        tokenizer: its tokenizer.
        directory: the folder.
        weights: the model's whole weights, if its parameters are split over the processes.
    Raises:
        StorageError: if the disk is full or cannot be written to.
    """
    temporary = directory.with_name(f".{directory.name}.writing")
    durable.remove(temporary)
    weights = weights or saved_state_dict(model)
    needed = sum(value.nbytes for value in weights.values())
    with (
        durable.converting_write_errors(directory, needed=needed),
        durable.deleting_on_failure(temporary),
        WaitingMessage(f"Saving the model into {directory}"),
    ):
        # In one file: safetensors files may have any size, and several shards would only add a progress bar.
        model.save_pretrained(temporary, max_shard_size="1TB", state_dict=dict(weights))
        tokenizer.model_max_length = model.config.max_input_length
        tokenizer.save_pretrained(temporary)
        durable.publish(temporary, directory)

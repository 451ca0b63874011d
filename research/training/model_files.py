"""Save the model and its tokenizer in a folder that `from_pretrained` can load."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from research.model.base_dtype import saved_state_dict
from research.model.encoder_with_head import EncoderWithHead
from research.system import durable
from research.system.process_group import ProcessGroup
from research.system.tensor_parts import own_parts, write_gathered
from research.system.waiting import WaitingMessage
from research.training.checkpoint.state import add_shared_weights, select_weights


def save_model(model: EncoderWithHead, tokenizer: PreTrainedTokenizerBase, directory: Path) -> None:
    """Save model and tokenizer. An existing folder is replaced once everything is on disk.

    Args:
        model: the bare model.
        tokenizer: its tokenizer.
        directory: the folder.
    Raises:
        StorageError: if the disk is full or cannot be written to.
    """
    weights = saved_state_dict(model)
    with _saving(directory, weights):
        _write(model, tokenizer, directory, weights)


def save_split_model(
    model: EncoderWithHead, tokenizer: PreTrainedTokenizerBase, directory: Path, processes: ProcessGroup
) -> None:
    """Save a model that is split over the processes, and its tokenizer; called on every process.

    The main process writes the parts of all processes into a temporary file, one at a time, and then reads it through
    a memory map, so that it never holds the whole model.

    Args:
        model: the model.
        tokenizer: its tokenizer.
        directory: the folder. An existing one is replaced once everything is on disk.
        processes: the processes.
    Raises:
        StorageError: on the main process, if the disk is full or cannot be written to.
    """
    weights = saved_state_dict(model)
    gathered = directory.with_name(f".{directory.name}-weights.writing")
    with _saving(directory, weights):
        try:
            parts = own_parts(select_weights(model, weights), is_main=processes.is_main)
            write_gathered(gathered, parts, processes)
            if processes.is_main:
                _write(model, tokenizer, directory, add_shared_weights(model, load_file(gathered)))
        finally:
            if processes.is_main:
                durable.remove(gathered)


@contextlib.contextmanager
def _saving(directory: Path, weights: Mapping[str, Tensor]) -> Iterator[None]:
    needed = sum(value.numel() * value.element_size() for value in weights.values())  # of whole tensors
    with (
        durable.converting_write_errors(directory, needed=needed),
        WaitingMessage(f"Saving the model into {directory}"),
    ):
        yield


def _write(
    model: EncoderWithHead, tokenizer: PreTrainedTokenizerBase, directory: Path, weights: Mapping[str, Tensor]
) -> None:
    """Write model and tokenizer to a temporary folder, and rename it."""
    temporary = directory.with_name(f".{directory.name}.writing")
    durable.remove(temporary)
    with durable.deleting_on_failure(temporary):
        # In one file: safetensors files may have any size, and several shards would only add a progress bar.
        model.save_pretrained(temporary, max_shard_size="1TB", state_dict=dict(weights))
        tokenizer.model_max_length = model.config.max_input_length
        tokenizer.save_pretrained(temporary)
        durable.publish(temporary, directory)

"""Weights that a run begins with beside the encoder's own."""

from __future__ import annotations

from pathlib import Path

from research.model.encoder_with_head import EncoderWithHead
from research.system.manifest import MANIFEST
from research.training.checkpoint.state import read_checkpoint_model


def load_initial_weights(model: EncoderWithHead, folder: Path) -> None:
    """Start from the weights of a saved model or a checkpoint.

    Raises:
        ValueError: if it is built in another way, or its outputs stand for other labels.
    """
    if (folder / MANIFEST).exists():
        weights, labels = read_checkpoint_model(model, folder)
    else:
        initial = EncoderWithHead.from_pretrained(folder)
        if initial.config.adapters is not None:
            raise ValueError(
                f"The model in {folder} has adapters beside its weights; to start others from it, end its run with "
                '--timeline "{at: 100%, merge_lora: true}" and give its model/, which is merged then (best/ is not).'
            )
        weights, labels = initial.state_dict(), initial.label_names
    own_labels = model.label_names
    if labels != own_labels:
        raise ValueError(
            f"The model in {folder} has the labels {', '.join(labels)}, these data have {', '.join(own_labels)}; "
            "rename them, or sort them alike."
        )
    try:
        model.load_state_dict(weights, strict=True)
    except RuntimeError:
        raise ValueError(
            f"The model in {folder} is not built like this run's (head {model.config.head}, {model.config.num_labels} "
            "labels); give the same --encoder and --head, with its options."
        ) from None

"""Load the initial weights of a run from a saved model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from research.model.encoder_with_head import EncoderWithHead
from research.model.prompt_tuning import count_virtual_tokens
from research.system.manifest import MANIFEST
from research.system.sharded_tensors import copy_values
from research.training.checkpoint.state import read_weights_and_label_names


def load_initial_weights(model: EncoderWithHead, folder: Path) -> None:
    """Load the weights of a saved model or a checkpoint into a new model.

    Raises:
        ValueError: if the saved model has adapters, the architectures differ, or the outputs belong to different
            labels.
    """
    if (folder / MANIFEST).exists():
        weights, labels = read_weights_and_label_names(model, folder)
    else:
        initial = EncoderWithHead.from_pretrained(folder)
        if count_virtual_tokens(initial.encoder):
            raise ValueError(
                f"The model in {folder} was trained with prompt tuning, which cannot be loaded or merged. Use a model "
                "with merged adapters, such as those of --peft lora."
            )
        if initial.config.adapters is not None:
            raise ValueError(
                f"The model in {folder} has adapters, which cannot be loaded. Train it with "
                '--timeline "{at: 100%, merge_adapters: true}", and pass the model/ of that run to --init_from, not '
                "its best/: the adapters are merged only in model/."
            )
        initial.set_temperature(1.0)  # the new run calibrates its own model, if requested
        weights, labels = initial.state_dict(), initial.label_names
    model_labels = model.label_names
    if labels != model_labels:
        raise ValueError(
            f"The model in {folder} has the labels {', '.join(labels)}; the data have {', '.join(model_labels)}. "
            "Rename the labels in the data, or put them in the same order."
        )
    targets = model.state_dict()
    if _shapes(weights) != _shapes(targets):
        raise ValueError(
            f"The architecture of the model in {folder} differs from that of this run (head {model.config.head}, "
            f"{model.config.num_labels} labels). Use the --encoder, --head and --pad_token with which the model in "
            f"{folder} was trained, with the same head options."
        )
    for name, target in targets.items():
        copy_values(weights[name], target)


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}

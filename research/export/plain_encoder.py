"""The pretrained encoder that adapters were trained for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from research.export.card_metadata import HUB_IDS
from research.model.adapters import name_without_adapters
from research.model.encoder_with_head import EncoderWithHead
from research.model.encoders import find_encoder_folder, load_encoder
from research.model.selectors import ADAPTER
from research.system.manifest import file_sha256
from research.system.paths import without_folders

ADVICE = "Export a plain model instead, with --merge or --format hub."
"""What to do with a model that PEFT cannot load."""


@dataclass(frozen=True)
class PlainEncoder:
    """The encoder that adapters were trained for."""

    name: str
    """Its name for a reader: that on the Hub, or the name of its folder."""
    folder: Path
    """Its folder on this machine."""

    @property
    def sha256_by_file(self) -> dict[str, str]:
        """The hash of each file with weights, by the name of the file."""
        return {path.name: file_sha256(path) for path in sorted(self.folder.glob("model*.safetensors"))}


def find_plain_encoder(model: EncoderWithHead) -> PlainEncoder:
    """Return the encoder of a model with adapters, after checking that training changed none of its own weights.

    Raises:
        ValueError: if the encoder is not found, or a weight has changed.
    """
    assert model.config.encoder is not None
    recorded = model.config.encoder.name_or_path
    try:
        original = load_encoder(recorded).state_dict()
    except ValueError as error:
        raise ValueError(f"Adapters need the encoder that they were trained for. {error} {ADVICE}") from error
    weights = {
        name_without_adapters(key): value
        for key, value in model.encoder.state_dict().items()
        if ADAPTER.search(key) is None
    }
    name = HUB_IDS.get(recorded, without_folders(recorded))
    changed = [
        key
        for key in sorted(weights.keys() | original.keys())
        if key not in weights or key not in original or not torch.equal(weights[key], original[key])
    ]
    if changed:
        raise ValueError(
            f"Adapters alone do not describe this model: {len(changed)} of the {len(original)} weights of {name} were "
            f"changed or removed ({', '.join(changed[:3])}{', ...' if len(changed) > 3 else ''}). {ADVICE}"
        )
    return PlainEncoder(name, find_encoder_folder(recorded))

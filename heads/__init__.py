"""Classification heads for pretrained encoders, and their registry.

Public names are imported on first use (PEP 562), so that importing this package does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from heads.attention import AttentionHead
    from heads.base import HEADS, EncoderSpec, Head, register_head
    from heads.cnn import CNNHead
    from heads.gru import GRUHead
    from heads.last import LastHead
    from heads.last4 import Last4Head
    from heads.latent import LatentHead
    from heads.linear import LinearHead
    from heads.lstm import LSTMHead
    from heads.max import MaxHead
    from heads.mean import MeanHead
    from heads.mean_last import MeanLastHead
    from heads.mlp import MLPHead
    from heads.scalar_mix import ScalarMixHead

__all__ = [
    "HEADS",
    "AttentionHead",
    "CNNHead",
    "EncoderSpec",
    "GRUHead",
    "Head",
    "LSTMHead",
    "Last4Head",
    "LastHead",
    "LatentHead",
    "LinearHead",
    "MLPHead",
    "MaxHead",
    "MeanHead",
    "MeanLastHead",
    "ScalarMixHead",
    "register_head",
]

_MODULES = {
    "HEADS": "base",
    "AttentionHead": "attention",
    "CNNHead": "cnn",
    "EncoderSpec": "base",
    "GRUHead": "gru",
    "Head": "base",
    "LSTMHead": "lstm",
    "Last4Head": "last4",
    "LastHead": "last",
    "LatentHead": "latent",
    "LinearHead": "linear",
    "MLPHead": "mlp",
    "MaxHead": "max",
    "MeanHead": "mean",
    "MeanLastHead": "mean_last",
    "ScalarMixHead": "scalar_mix",
    "register_head": "base",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'heads' has no attribute '{name}'")
    for module in dict.fromkeys(_MODULES.values()):  # import all modules, so that HEADS is complete when first used
        importlib.import_module(f"heads.{module}")
    return getattr(importlib.import_module(f"heads.{_MODULES[name]}"), name)

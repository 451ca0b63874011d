"""Build encoders without a pooler."""

from __future__ import annotations

import inspect
from typing import Any

from transformers import AutoModel, PretrainedConfig


def pooler_arguments(config: PretrainedConfig) -> dict[str, bool]:
    """Return the arguments with which `AutoModel` adds no pooler, since no head uses one."""
    model_class: Any = AutoModel._model_mapping[type(config)]
    return {"add_pooling_layer": False} if "add_pooling_layer" in inspect.signature(model_class).parameters else {}

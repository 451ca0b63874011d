"""Compute logits with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import Tensor

from research.tasks.base import Floats


class OnnxSession:
    """A model in ONNX Runtime, on the CPU.

    Args:
        path: the .onnx file.
    """

    def __init__(self, path: Path) -> None:
        import onnxruntime

        self._session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self._names = [each.name for each in self._session.get_inputs()]

    def __call__(self, inputs: Mapping[str, Tensor]) -> Floats:
        """Return the logits, [batch, num_labels], for inputs of [batch, seq] each."""
        return np.asarray(self._session.run(["logits"], {name: inputs[name].numpy() for name in self._names})[0])

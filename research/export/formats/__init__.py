"""Export formats, one file each. They import torch only in their methods, so that `export.py --help` stays fast."""

from research.export.formats import hub, onnx, torch

__all__ = ["hub", "onnx", "torch"]

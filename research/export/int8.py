"""Quantise an ONNX model to 8 bits, and measure what that costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from research.export.labelled_texts import LabelledTexts
from research.export.onnx_session import OnnxSession
from research.inference.saved_model import SavedModel
from research.inference.scorer import Scorer
from research.learning.metrics import compute_metrics
from research.system.waiting import WaitingProgress
from research.tasks.base import Floats


@dataclass(frozen=True)
class Comparison:
    """Metrics of a model before and after quantisation, on the same rows."""

    num_rows: int
    """Number of rows."""
    before: dict[str, float]
    """Metrics of model.onnx."""
    after: dict[str, float]
    """Metrics of model.int8.onnx."""


def quantize(source: Path, target: Path) -> None:
    """Write an ONNX model whose matrix products multiply 8-bit integers.

    Activations are quantised in each batch, so no calibration data are needed. Matrix products of LSTMs are quantised,
    but not those of GRUs, for which ONNX Runtime has no such operation.

    Args:
        source: the .onnx file to quantise.
        target: the .onnx file to write.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = target.with_suffix(".prepared")
    # Only constants are quantised. The exporter leaves operations on weights, such as the order of an LSTM's gates.
    quant_pre_process(source, prepared, skip_symbolic_shape=True)
    # The shapes that the exporter wrote belong to the model before that; ONNX Runtime 1.23, for example, refuses them.
    model = onnx.load(prepared)
    del model.graph.value_info[:]
    onnx.save(model, prepared)
    quantize_dynamic(prepared, target, weight_type=QuantType.QInt8)
    prepared.unlink()


def compare_metrics(saved: SavedModel, texts: LabelledTexts, before: OnnxSession, after: OnnxSession) -> Comparison:
    """Return the metrics of model.onnx and model.int8.onnx on labelled texts."""
    metrics = [
        compute_metrics(saved.task, _logits(saved, texts.rows, session, description), texts.labels)
        for session, description in ((before, "Evaluating the model"), (after, "Evaluating the quantised model"))
    ]
    return Comparison(len(texts.rows), *metrics)


def _logits(saved: SavedModel, rows: Sequence[Sequence[str]], session: OnnxSession, description: str) -> Floats:
    """Return the logits of rows, [num_rows, num_labels]."""
    scorer = Scorer(saved, device=torch.device("cpu"))
    columns = scorer.tokenize(rows)
    logits = []
    with WaitingProgress(description, len(rows), "row") as progress:
        for start in range(0, len(rows), scorer.batch_size):
            indices = range(start, min(start + scorer.batch_size, len(rows)))
            logits.append(session(scorer.collate(columns, indices).inputs))
            progress.update(len(indices))
    return np.concatenate(logits)

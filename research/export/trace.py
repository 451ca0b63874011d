"""Trace a model with torch.export, for batches of any size."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from research.export.example import random_inputs
from research.export.merging import without_adapters
from research.export.recurrent import RecurrentOperations
from research.inference.saved_model import SavedModel
from research.model.encoder_with_head import EncoderWithHead
from research.system.plain_text import shorten
from research.system.user_code import describe_location
from research.system.waiting import WaitingMessage

DIMENSIONS = ("batch", "length")
"""Names of the dimensions of all inputs."""
EXAMPLE_SIZE = (2, 4)
"""Rows and tokens of the example. A size of 1 would be regarded as fixed."""
_LOGGERS = ("torch.export", "torch.fx.experimental.symbolic_shapes", "torch.onnx", "onnxscript", "onnx_ir")


class _LogitsOnly(nn.Module):
    """A model that returns a tensor."""

    def __init__(self, model: EncoderWithHead) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        input_ids: Int[Tensor, "batch seq"],
        attention_mask: Int[Tensor, "batch seq"],
        token_type_ids: Int[Tensor, "batch seq"] | None = None,
    ) -> Float[Tensor, "batch labels"]:
        """Return the logits."""
        logits: Tensor = self.model(input_ids, attention_mask, token_type_ids).logits
        return logits


def trace(saved: SavedModel) -> ExportedProgram:
    """Return the traced model. Low-rank adapters are merged into its weights.

    LSTMs and GRUs are operations of `research.export.recurrent`.

    Raises:
        ValueError: if torch.export cannot trace the model for batches of any size.
    """
    model = without_adapters(saved.model)
    batch, length = DIMENSIONS
    sizes = {0: Dim(batch), 1: Dim(length, max=model.config.max_input_length)}
    inputs = random_inputs(saved, *EXAMPLE_SIZE)
    try:
        with quiet_export(), torch.no_grad(), RecurrentOperations(), WaitingMessage("Tracing the model"):
            return torch.export.export(
                _LogitsOnly(model), (), inputs, dynamic_shapes=dict.fromkeys(inputs, sizes), strict=False
            )
    except Exception as error:  # torch.export has no common class of errors
        raise ValueError(
            f"torch.export cannot trace this model with the head '{model.config.head}'"
            f"{describe_location(type(model.head).forward)}: {type(error).__name__}: {_reason(error)}"
        ) from error


@contextlib.contextmanager
def quiet_export() -> Iterator[None]:
    """Return a context without the messages of torch.export and torch.onnx that users can do nothing about.

    Failures are exceptions, too, so nothing is lost.
    """
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        # torch.export prints the whole graph to stderr if it cannot trace a model.
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            # Tracing assigns the weights of an LSTM or GRU to its list of weights, and restores them afterwards.
            warnings.filterwarnings("ignore", r"The tensor attributes? .*_flat_weights")
            warnings.filterwarnings("ignore", "# The axis name: .* will not be used")  # all inputs have the same axes
            warnings.filterwarnings("ignore", "The given buffer is not writable")  # torch 2.10, when it loads a program
            warnings.filterwarnings("ignore", category=FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _reason(error: Exception) -> str:
    """Return the first paragraph of an error's message on one line; the other paragraphs are advice and a stack."""
    lines = [line.strip(" -") for line in str(error).split("\n\n")[0].splitlines()]
    return shorten(" ".join(dict.fromkeys(line for line in lines if line)), 400)

"""Create the wrappers that the settings request."""

from __future__ import annotations

from accelerate import Accelerator

from research.model.encoder_with_head import EncoderWithHead
from research.settings.config import RunConfig
from research.training.wrapping.base import Wrapping
from research.training.wrapping.ddp import ReplicatedModel


def create_wrapping(config: RunConfig, accelerator: Accelerator, model: EncoderWithHead) -> Wrapping:
    """Return a model in the wrappers of a run. `Wrapping.wrap` completes them.

    Args:
        config: settings; uses compile and compile_backend.
        accelerator: determines device, precision and processes.
        model: the bare model.
    """
    return ReplicatedModel(accelerator, model, config.compile_backend if config.compile else None)

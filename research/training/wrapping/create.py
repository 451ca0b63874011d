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
        config: settings; uses compile, compile_backend and the settings of --shard.
        accelerator: determines device, precision and processes.
        model: the bare model.
    """
    compile_backend = config.compile_backend if config.compile else None
    if config.shard is None:
        return ReplicatedModel(accelerator, model, compile_backend)
    # Imported here, since it takes a second.
    from research.training.wrapping.fsdp2 import ShardedModel
    from research.training.wrapping.sharding import choose_sharding

    return ShardedModel(accelerator, model, choose_sharding(config, accelerator), compile_backend)

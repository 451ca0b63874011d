"""Create the wrappers that the settings request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from accelerate import Accelerator

from research.model.encoder_with_head import EncoderWithHead
from research.settings.config import RunConfig
from research.training.wrapping.base import Wrapping
from research.training.wrapping.ddp import ReplicatedModel

if TYPE_CHECKING:
    from research.training.wrapping.sharding import Sharding


def find_sharding(config: RunConfig, accelerator: Accelerator) -> Sharding | None:
    """Return how the parameters of a run are split over the processes; None without --shard.

    Args:
        config: settings; uses those of --shard.
        accelerator: determines device, precision and processes.
    Raises:
        ValueError: see `choose_sharding`.
    """
    if config.shard is None:
        return None
    # Imported here, since it takes a second.
    from research.training.wrapping.sharding import choose_sharding

    return choose_sharding(config, accelerator)


def create_wrapping(
    config: RunConfig, accelerator: Accelerator, model: EncoderWithHead, sharding: Sharding | None
) -> Wrapping:
    """Return a model in the wrappers of a run. `Wrapping.wrap` completes them.

    Args:
        config: settings; uses compile and compile_backend.
        accelerator: determines device, precision and processes.
        model: the bare model.
        sharding: how its parameters are split; None if every process holds all of them.
    """
    compile_backend = config.compile_backend if config.compile else None
    if sharding is None:
        return ReplicatedModel(accelerator, model, compile_backend)
    from research.training.wrapping.fsdp2 import ShardedModel

    return ShardedModel(accelerator, model, sharding, compile_backend)

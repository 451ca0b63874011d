"""Check the settings of --shard."""

from __future__ import annotations

import dataclasses

from research.settings.config import RunConfig
from research.system.sharding_versions import check_torch_version


def check_sharding(config: RunConfig) -> None:
    """Check that the settings of --shard are used, and work with the other settings and the version of PyTorch.

    Raises:
        ValueError: if not; names the settings.
    """
    if config.shard is None:
        defaults = {item.name: item.default for item in dataclasses.fields(RunConfig)}
        for name in ("shard_precision", "shard_group_size", "shard_cpu_offload", "shard_checkpoints"):
            if getattr(config, name) != defaults[name]:
                raise ValueError(
                    f"--{name} {getattr(config, name)} has no effect without --shard. Omit it, or set --shard fsdp2."
                )
        return
    check_torch_version()
    if config.base_dtype != "float32":
        raise ValueError(
            f"--shard does not work with --base_dtype {config.base_dtype}, whose stored weights cannot be split. Omit "
            "one of the two."
        )
    if config.long_texts == "windows":
        raise ValueError(
            "--shard does not work with --long_texts windows: the texts of each process have other numbers of windows, "
            "and splitting the model requires that all processes run the encoder equally often. Set --long_texts "
            "truncate, or train without --shard."
        )

"""How parameters are split over the processes: the settings of --shard."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy, OffloadPolicy
from torch.distributed.tensor import Replicate, Shard

from research.model.loading_parts import loading_parts
from research.settings.config import RunConfig
from research.system.heap import map_large_blocks
from research.system.sharded_tensors import empty_split
from research.system.sharding_versions import check_torch_version

DTYPES = {"no": None, "float32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Data type in which parameters are gathered, by precision; None is that of the parameters."""


@dataclass(frozen=True)
class Sharding:
    """How parameters are split."""

    mesh: DeviceMesh
    """The processes: one dimension, or replicas of the model times parts of each."""
    precision: MixedPrecisionPolicy
    """Data types in which parameters are gathered and gradients averaged."""
    offload: OffloadPolicy
    """Where parts are stored while they are not used."""

    @property
    def num_shards(self) -> int:
        """Number of parts of each parameter."""
        return self.mesh.size(self.mesh.ndim - 1)

    def loading(self) -> AbstractContextManager[None]:
        """Return a context in which pretrained weights are split while they are loaded."""
        return loading_parts(self.without_values)

    def without_values(self, parameter: nn.Parameter) -> nn.Parameter:
        """Return a split parameter on the meta device, like a whole one. It may be whole; see `can_be_split`."""
        if not can_be_split(parameter):
            return parameter
        placements = (Replicate(),) * (self.mesh.ndim - 1) + (Shard(0),)
        split = empty_split(parameter.shape, self.mesh, placements, parameter.dtype, torch.device("meta"))
        return nn.Parameter(split, requires_grad=parameter.requires_grad)


def can_be_split(parameter: nn.Parameter) -> bool:
    """Return whether a parameter has rows. Every process holds the other parameters: single numbers and empty ones."""
    return parameter.dim() > 0 and parameter.numel() > 0


def choose_sharding(config: RunConfig, accelerator: Accelerator) -> Sharding:
    """Return how the parameters of a run are split.

    Args:
        config: settings; uses those of --shard.
        accelerator: determines device, precision and processes. The processes are connected, even if there is only one.
    Raises:
        ValueError: if a setting does not fit the launch, or the version of PyTorch was not tested.
    """
    check_torch_version()
    num_processes, size = accelerator.num_processes, config.shard_group_size or accelerator.num_processes
    if num_processes % size:
        raise ValueError(f"Expected --shard_group_size to divide the number of processes, {num_processes}; got {size}.")
    if config.shard_precision == "fp16" and accelerator.mixed_precision != "fp16":
        raise ValueError(
            "Expected --mixed_precision fp16 with --shard_precision fp16, since small gradients become 0 in fp16 "
            f"without its gradient scaler; got --mixed_precision {accelerator.mixed_precision}."
        )
    device = accelerator.device.type
    if config.shard_cpu_offload and device == "cpu":
        raise ValueError("--shard_cpu_offload requires a GPU; none found.")
    if device == "cpu":
        map_large_blocks()
    if size == num_processes:
        mesh = init_device_mesh(device, (size,), mesh_dim_names=("shard",))
    else:
        mesh = init_device_mesh(device, (num_processes // size, size), mesh_dim_names=("replica", "shard"))
    precision = accelerator.mixed_precision if config.shard_precision == "auto" else config.shard_precision
    return Sharding(
        mesh,
        MixedPrecisionPolicy(param_dtype=DTYPES[precision], reduce_dtype=torch.float32),
        CPUOffloadPolicy() if config.shard_cpu_offload else OffloadPolicy(),
    )

"""Fixtures: a tensor that is split over processes; here over a single one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor


@pytest.fixture
def split() -> Iterator[Tensor]:
    """A tensor [4, 3] that is split over one process."""
    from torch.distributed import HashStore  # type: ignore[attr-defined]
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    torch.distributed.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        yield distribute_tensor(torch.arange(12.0).reshape(4, 3), mesh, [Shard(0)])
    finally:
        torch.distributed.destroy_process_group()

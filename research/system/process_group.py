"""The processes of a run, which exchange objects and the bytes of tensors in the memory of the CPU."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor

Item = TypeVar("Item")


class ProcessGroup:
    """The processes of a run.

    All methods but `send` and `receive` are called on every process.

    Args:
        rank: number of this process.
        num_processes: number of all processes.
        group: the group of torch.distributed through which they communicate; None for the default group.
    """

    def __init__(self, rank: int, num_processes: int, group: Any = None) -> None:
        self.rank = rank
        self._num_processes = num_processes
        self._group = group

    @classmethod
    def separate(cls, rank: int, num_processes: int) -> ProcessGroup:
        """Return the processes with connections of their own, from CPU to CPU, so that a thread may use them.

        Args:
            rank: number of this process.
            num_processes: number of all processes.
        """
        return cls(rank, num_processes, torch.distributed.new_group(backend="gloo") if num_processes > 1 else None)

    @property
    def is_main(self) -> bool:
        """Whether this is the main process."""
        return self.rank == 0

    def gather_objects(self, item: Item) -> list[Item]:
        """Return the items of all processes, in the order of their ranks."""
        if self._num_processes == 1:
            return [item]
        items: list[Any] = [None] * self._num_processes
        torch.distributed.all_gather_object(items, item, group=self._group)
        return items

    def send(self, values: Tensor, rank: int) -> None:
        """Send a tensor in the memory of the CPU to another process, which receives it."""
        torch.distributed.send(values, rank, group=self._group)

    def receive(self, values: Tensor, rank: int) -> None:
        """Receive a tensor of a known shape from another process, which sends it.

        Args:
            values: receives the values.
            rank: number of the other process.
        """
        torch.distributed.recv(values, rank, group=self._group)

    def close(self) -> None:
        """Close the connections that `separate` opened."""
        group, self._group = self._group, None
        if group is not None:
            torch.distributed.destroy_process_group(group)

"""Join the processes that torchrun started, also after a restart.

Torchrun's store outlives a restart, so that torch would look for the dead processes at their old addresses. Nothing in
the environment names the round: TORCHELASTIC_RESTART_COUNT counts each node's own failures, and a restart because
another node failed or joined is not counted (https://github.com/pytorch/pytorch/issues/108158). So the processes that
are alive agree on a round through the store.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from datetime import timedelta

import torch
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from research.system.launcher import is_on

AGREEMENT_TIMEOUT = timedelta(minutes=10)
"""How long to wait for the other processes: importing everything takes minutes on a busy disk."""
POLL_SECONDS = 0.05
ROUNDS = "midway/rounds"


_round = 1


def num_earlier_rounds() -> int:
    """Return how often the launcher started processes before these."""
    return _round - 1


def join_processes() -> None:
    """Join the processes that torchrun started around its own store.

    Raises:
        TimeoutError: if some processes do not come.
    """
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    store = TCPStore(
        os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False, timeout=AGREEMENT_TIMEOUT
    )
    global _round  # noqa: PLW0603 (a process joins one group for life)
    _round = number = agree_on_round(store, rank, world_size)
    on_gpu = torch.cuda.is_available() and not is_on("ACCELERATE_USE_CPU")
    torch.distributed.init_process_group(
        backend="nccl" if on_gpu else "gloo",
        store=PrefixStore(f"midway/round-{number}", store),
        rank=rank,
        world_size=world_size,
    )


def agree_on_round(store: Store, rank: int, world_size: int, timeout: timedelta = AGREEMENT_TIMEOUT) -> int:
    """Return the number of this round, the same for all processes that are alive.

    Every process leaves a name that nobody had before. The first process opens a round and answers names until all
    those that stand in the store have confirmed; a dead process's name is replaced by its successor's.

    Args:
        store: shared by all, and with all earlier rounds.
        rank: this process's number.
        world_size: number of processes.
        timeout: how long to wait for the other processes.
    Raises:
        TimeoutError: if some processes do not come.
    """
    deadline = time.monotonic() + timeout.total_seconds()
    if rank:
        name = uuid.uuid4().hex
        store.set(f"midway/name/{rank}", name)
        _wait(lambda: store.check([f"midway/answer/{name}"]), deadline, "the first process")
        number = int(store.get(f"midway/answer/{name}"))
        store.set(f"midway/confirmed/{number}/{name}", "")
        _wait(lambda: store.check([f"midway/complete/{number}"]), deadline, "the other processes")
        return number
    number = store.add(ROUNDS, 1)
    _wait(lambda: all(_has_confirmed(store, number, other) for other in range(1, world_size)), deadline, "some")
    store.set(f"midway/complete/{number}", "")
    return number


def _has_confirmed(store: Store, number: int, rank: int) -> bool:
    """Answer a process of this round, and return whether it has confirmed."""
    if not store.check([f"midway/name/{rank}"]):
        return False
    name = store.get(f"midway/name/{rank}").decode()
    store.set(f"midway/answer/{name}", str(number))
    return bool(store.check([f"midway/confirmed/{number}/{name}"]))


def _wait(condition: Callable[[], bool], deadline: float, awaited: str) -> None:
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Waited for {awaited} of the launched processes; they did not come.")
        time.sleep(POLL_SECONDS)

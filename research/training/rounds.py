"""Join the processes that torchrun started, including after a restart.

Torchrun's store survives a restart, so torch would look for the dead processes at their old addresses. Therefore each
round, that is, each start of the processes, uses its own keys in the store. No environment variable identifies the
round: TORCHELASTIC_RESTART_COUNT counts the failures of each node separately, without the restarts that a failure or
the arrival of another node causes (https://github.com/pytorch/pytorch/issues/108158). So the live processes agree on
the number of the round through the store.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from datetime import timedelta

import torch
from torch.distributed import HashStore, PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from research.system.launcher import is_switch_on

AGREEMENT_TIMEOUT = timedelta(minutes=10)
"""How long to wait for the other processes. Imports alone can take minutes on a busy disk."""
POLL_SECONDS = 0.05
"""Pause between two looks at the store."""
ROUNDS = "midway/rounds"
"""Key in the store that holds the number of rounds started so far."""

_round = 1
"""Number of the round in which this process joined, from 1."""


def num_earlier_rounds() -> int:
    """Return how many times the launcher had started processes before the current ones."""
    return _round - 1


def choose_backend(*, on_gpu: bool, on_both: bool = False) -> str:
    """Return the backend with which the processes communicate.

    Args:
        on_gpu: whether the processes train on GPUs.
        on_both: whether they also communicate values in the memory of the CPU, which NCCL cannot send.
    """
    if not on_gpu:
        return "gloo"
    return "cpu:gloo,cuda:nccl" if on_both else "nccl"


def join_processes(*, on_both: bool = False) -> None:
    """Initialise torch.distributed for processes that torchrun started with its own store.

    Args:
        on_both: see `choose_backend`.
    Raises:
        TimeoutError: if some processes do not join in time.
    """
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    store = TCPStore(
        os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False, timeout=AGREEMENT_TIMEOUT
    )
    global _round  # noqa: PLW0603 (a process joins one group for life)
    _round = number = agree_on_round(store, rank, world_size)
    on_gpu = torch.cuda.is_available() and not is_switch_on("ACCELERATE_USE_CPU")
    torch.distributed.init_process_group(
        backend=choose_backend(on_gpu=on_gpu, on_both=on_both),
        store=PrefixStore(f"midway/round-{number}", store),
        rank=rank,
        world_size=world_size,
    )


def join_alone(device: torch.device, *, on_both: bool = False) -> None:
    """Initialise torch.distributed for a single process, as sharding requires.

    Args:
        device: device on which the process trains.
        on_both: see `choose_backend`.
    """
    backend = choose_backend(on_gpu=device.type == "cuda", on_both=on_both)
    torch.distributed.init_process_group(backend, store=HashStore(), rank=0, world_size=1)


def agree_on_round(store: Store, rank: int, world_size: int, timeout: timedelta = AGREEMENT_TIMEOUT) -> int:
    """Return the number of this round, the same for all live processes.

    Every process except the first writes a unique name into the store. The first process starts a round and sends the
    round's number to every name until all names have confirmed it. The name of a dead process is overwritten by the
    process that replaces it.

    Args:
        store: the store, shared by all processes and all earlier rounds.
        rank: index of this process.
        world_size: number of processes.
        timeout: how long to wait for the other processes.
    Raises:
        TimeoutError: if some processes do not join in time.
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
    _wait(
        lambda: all(_send_number(store, number, recipient) for recipient in range(1, world_size)),
        deadline,
        "the other processes",
    )
    store.set(f"midway/complete/{number}", "")
    return number


def _send_number(store: Store, number: int, rank: int) -> bool:
    """Send the number of this round to a process, and return whether the process has confirmed it."""
    if not store.check([f"midway/name/{rank}"]):
        return False
    name = store.get(f"midway/name/{rank}").decode()
    store.set(f"midway/answer/{name}", str(number))
    return bool(store.check([f"midway/confirmed/{number}/{name}"]))


def _wait(condition: Callable[[], bool], deadline: float, awaited: str) -> None:
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Waited for {awaited}, which did not join in time. Did a launched process fail?")
        time.sleep(POLL_SECONDS)

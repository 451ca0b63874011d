"""Processes agree on a round number through a store that survives restarts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from torch.distributed import HashStore, Store  # type: ignore[attr-defined]

from research.training.rounds import agree_on_round, choose_backend
from tests.limits import HANG_LIMIT


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def agree_in_threads(pool: ThreadPoolExecutor, store: Store, num_processes: int) -> list[int]:
    """Let threads, each of which stands for a process, agree on a round; return the number that each of them got."""
    futures = [pool.submit(agree_on_round, store, rank, num_processes) for rank in range(num_processes)]
    return [future.result(HANG_LIMIT) for future in futures]


def test_agree_on_round_returns_the_same_number_to_all_processes(pool: ThreadPoolExecutor) -> None:
    store = HashStore()
    assert [agree_in_threads(pool, store, 3) for _ in range(3)] == [[1, 1, 1], [2, 2, 2], [3, 3, 3]]


def test_agree_on_round_works_after_processes_died_while_agreeing(pool: ThreadPoolExecutor) -> None:
    store = HashStore()
    timeout = timedelta(seconds=0.3)
    with pytest.raises(TimeoutError):  # only process 0 is alive
        agree_on_round(store, 0, 3, timeout)
    for rank in (1, 2):  # process 0 is missing; the names stay in the store
        with pytest.raises(TimeoutError):
            agree_on_round(store, rank, 3, timeout)
    assert agree_in_threads(pool, store, 3) == [2, 2, 2]  # process 0 had started round 1


def test_agree_on_round_waits_for_the_successor_of_a_dead_process(pool: ThreadPoolExecutor) -> None:
    store = HashStore()
    store.set("midway/name/1", "dead")  # the name of a process that died
    first = pool.submit(agree_on_round, store, 0, 2)
    answered = threading.Event()
    while not answered.wait(0.01) and not first.done():
        if store.check(["midway/answer/dead"]):
            answered.set()
    assert not first.done()
    assert agree_on_round(store, 1, 2) == first.result(HANG_LIMIT) == 1


def test_choose_backend_lets_processes_on_gpus_also_send_values_on_the_cpu() -> None:
    assert choose_backend(on_gpu=False, on_both=True) == "gloo"
    assert choose_backend(on_gpu=True) == "nccl"
    assert choose_backend(on_gpu=True, on_both=True) == "cpu:gloo,cuda:nccl"

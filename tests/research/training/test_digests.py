"""Every part of a run's state is hashed."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from research.training.digests import hash_run_state, hash_value
from research.training.loop import train
from tests.research.conftest import StartRun


def test_hash_value_is_equal_for_equal_values() -> None:
    value = {"a": [1, 2.5, None, True], "b": {"c": torch.arange(3)}}
    # A tuple has the hash of a list, because JSON turns tuples into lists.
    assert hash_value(value) == hash_value({"a": (1, 2.5, None, True), "b": {"c": torch.arange(3)}})


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (1, 1.0),
        ("1", 1),
        ([1, [2]], [[1], 2]),
        ([[1], 2], [[1, 2]]),
        ({"a": 1}, {"b": 1}),
        (torch.zeros(2), torch.zeros(2, dtype=torch.float64)),
        (torch.zeros(4), torch.zeros(2, 2)),
        (torch.zeros(1), -torch.zeros(1)),
        (torch.tensor(1.0), torch.nextafter(torch.tensor(1.0), torch.tensor(2.0))),
    ],
)
def test_hash_value_differs_for_different_values(first: Any, second: Any) -> None:
    assert hash_value(first) != hash_value(second)


def test_hash_value_does_not_depend_on_memory_layout() -> None:
    tensor = torch.arange(6.0).view(2, 3)
    assert hash_value(tensor.T.contiguous().T) == hash_value(tensor)


def test_hash_run_state_differs_only_in_the_changed_parts(start_run: StartRun) -> None:
    first, second = start_run(max_steps=3), start_run(max_steps=3)
    before = hash_run_state(first)
    assert before == hash_run_state(second)
    second.encoder_with_head.get_parameter("head.out.bias").data.add_(1)
    changed = hash_run_state(second)
    assert {name for name in changed if changed[name] != before[name]} == {"weight head.out.bias"}
    train(first)
    after = hash_run_state(first)
    unchanged = {name for name in before if after[name] == before[name]}
    assert {"which parameters train", "journal"} <= unchanged
    assert (
        not {"clock", "schedule", "weight head.out.bias", "optimizer's settings of head, with weight decay"} & unchanged
    )
    assert "optimizer's exp_avg of head.out.bias" in after.keys() - before.keys()

"""Tensors that are split over processes; here over a single one. Launched tests split them over several."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from research.system.checksums import checksum
from research.system.sharded_random import DifferentNumbersError, draw_for_whole_tensors, drawing_the_same
from research.system.sharded_tensors import (
    copy_part,
    cut_part,
    distribute,
    first_row,
    gather,
    is_in_first_copy,
    is_sharded,
    is_split_by_rows,
    local_part,
    match,
    split_like,
)

pytestmark = pytest.mark.sharding


def test_whole_tensors_are_returned_as_they_are() -> None:
    whole = torch.rand(3, 2)
    assert not is_sharded(whole)
    assert torch.equal(gather(whole), whole)
    assert local_part(whole).data_ptr() == whole.data_ptr()
    assert first_row(whole) == 0
    assert distribute(whole, whole) is whole
    assert torch.equal(match(whole, torch.zeros(3, 2)), whole)


def test_parts_are_gathered_cut_and_distributed(split: Tensor) -> None:
    whole = torch.arange(12.0).reshape(4, 3)
    assert is_sharded(split)
    assert is_split_by_rows(split)
    assert is_in_first_copy(split)
    assert torch.equal(gather(split), whole)
    assert torch.equal(checksum(split), checksum(whole))
    again = distribute(cut_part(whole + 1, split), split)
    assert is_sharded(again)
    assert torch.equal(gather(again), whole + 1)
    assert torch.equal(gather(match(whole * 2, split)), whole * 2)
    version = split._version
    copy_part(whole * 3, split)
    assert split._version > version
    assert torch.equal(gather(split), whole * 3)
    empty = split_like([7, 2], split, torch.int16)
    assert (tuple(empty.shape), empty.dtype, is_sharded(empty)) == ((7, 2), torch.int16, True)


@pytest.mark.parametrize(
    "draw",
    [
        torch.randn_like,
        torch.rand_like,
        lambda tensor: torch.bernoulli(torch.full_like(tensor, 0.5)),
        lambda tensor: tensor.clone().normal_(2, 3),
        lambda tensor: tensor.clone().uniform_(),
        lambda tensor: tensor.clone().exponential_(),
        lambda tensor: torch.nn.functional.dropout(tensor, 0.5),
    ],
)
def test_random_numbers_are_those_of_the_whole_tensor(split: Tensor, draw: Any) -> None:
    draw_for_whole_tensors()
    torch.manual_seed(0)
    expected = draw(gather(split))
    with drawing_the_same():
        torch.manual_seed(0)
        drawn = draw(split)
    assert is_sharded(drawn)
    assert torch.equal(gather(drawn), expected)
    with pytest.raises(DifferentNumbersError, match="shared_random_numbers"):
        draw(split)

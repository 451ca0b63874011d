"""Tensors that are split over processes; here over a single one. Launched tests split them over several."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from research.system.checksums import checksum
from research.system.safetensors_file import TensorFile, read_as_split, write_gathered
from research.system.sharded_random import DifferentNumbersError, draw_for_whole_tensors, drawing_the_same
from research.system.sharded_tensors import (
    copy_part,
    cut_part,
    distribute,
    first_row,
    gather,
    gather_on_main,
    is_sharded,
    local_part,
    match,
    split_like,
)

pytestmark = pytest.mark.sharding


@pytest.fixture
def split() -> Iterator[Tensor]:
    """A tensor that is split over one process."""
    from torch.distributed import HashStore  # type: ignore[attr-defined]
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    torch.distributed.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        yield distribute_tensor(torch.arange(12.0).reshape(4, 3), mesh, [Shard(0)])
    finally:
        torch.distributed.destroy_process_group()


def test_whole_tensors_are_returned_as_they_are() -> None:
    whole = torch.rand(3, 2)
    assert not is_sharded(whole)
    assert torch.equal(gather(whole), whole)
    assert local_part(whole).data_ptr() == whole.data_ptr()
    assert first_row(whole) == 0
    assert distribute(whole, whole) is whole
    assert torch.equal(match(whole, torch.zeros(3, 2)), whole)
    assert gather_on_main({"a": whole}, is_main=False) == {}


def test_parts_are_gathered_cut_and_distributed(split: Tensor) -> None:
    whole = torch.arange(12.0).reshape(4, 3)
    assert is_sharded(split)
    assert torch.equal(gather(split), whole)
    assert torch.equal(gather_on_main({"a": split}, is_main=True)["a"], whole)
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


def test_split_tensors_are_written_whole_and_read_in_parts(split: Tensor, tmp_path: Path) -> None:
    write_gathered(tmp_path / "file", {"a": split, "b": torch.ones(2)}, is_main=True)
    with TensorFile(tmp_path / "file") as file:
        assert torch.equal(file.read("a"), gather(split))
        assert torch.equal(file.read_part("a", split), local_part(split))
        assert is_sharded(read_as_split(file, "a", split))
        assert not is_sharded(read_as_split(file, "a", torch.ones(1)))


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

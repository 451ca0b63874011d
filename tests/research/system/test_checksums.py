"""Checksums of tensors. The audit, which compares replicas by checksums, is tested in tests/integration."""

from __future__ import annotations

import pytest
import torch

from research.system.checksums import checksum, checksum_of_part

INTEGER_TYPES = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Integer types by their number of bytes."""


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float8_e4m3fn])
@pytest.mark.parametrize("shape", [(1,), (7,), (3, 5), (257, 9), (2, 2048)])
def test_checksum_changes_with_any_bit(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    tensor = torch.randn(shape, generator=generator).to(dtype)
    before = checksum(tensor)
    assert torch.equal(checksum(tensor.clone()), before)
    integers = tensor.view(-1).view(INTEGER_TYPES[tensor.element_size()])
    for index in {0, len(integers) // 2, len(integers) - 1}:
        for bit in range(8 * tensor.element_size()):
            lowest_bit = torch.ones((), dtype=torch.int64)
            integers[index] ^= (lowest_bit << bit).to(integers.dtype)
            assert not torch.equal(checksum(tensor), before), (index, bit)
            integers[index] ^= (lowest_bit << bit).to(integers.dtype)
    assert torch.equal(checksum(tensor), before)


def test_checksum_depends_on_the_order_of_rows() -> None:
    tensor = torch.randn(4, 512)  # each row is one block of 256 words of 8 bytes
    assert not torch.equal(checksum(tensor), checksum(tensor.flip(0)))


def test_checksum_of_a_slice_equals_that_of_its_copy() -> None:
    tensor = torch.randn(1000)
    for start in (1, 2, 3):  # not aligned to 8 bytes
        assert torch.equal(checksum(tensor[start:]), checksum(tensor[start:].clone()))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.int8])
@pytest.mark.parametrize("num_values", [1, 300, 5000])
def test_checksums_of_parts_add_up_to_that_of_the_whole(dtype: torch.dtype, num_values: int) -> None:
    whole = torch.randn(num_values).mul(50).to(dtype)
    for num_first in {0, 1, num_values // 3, num_values - 1, num_values}:
        first, second = whole[:num_first], whole[num_first:]
        total = checksum_of_part(first, 0) + checksum_of_part(second, num_first * whole.element_size())
        assert torch.equal(total, checksum(whole)), num_first

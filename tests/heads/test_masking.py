"""Pooling with an attention mask, with results computed by hand."""

from __future__ import annotations

import pytest
import torch

from heads.masking import (
    first_token,
    last_token,
    masked_max,
    masked_mean,
    masked_softmax,
    position_weighted_mean,
    reorder,
    reversed_token_order,
    take_one_per_row,
    token_order,
)

HIDDEN_STATES = torch.tensor([[[9.0], [1.0], [7.0], [3.0]], [[5.0], [6.0], [7.0], [8.0]]])
MASK = torch.tensor([[0, 1, 0, 1], [0, 0, 0, 0]])  # a row with padding between tokens, and a row without tokens


def test_first_token_skips_padding() -> None:
    assert first_token(HIDDEN_STATES, MASK).tolist() == [[1.0], [0.0]]


def test_last_token_skips_padding() -> None:
    assert last_token(HIDDEN_STATES, MASK).tolist() == [[3.0], [0.0]]
    assert last_token(HIDDEN_STATES, MASK.flip(1)).tolist() == [[7.0], [0.0]]
    assert last_token(HIDDEN_STATES, torch.tensor([[1, 0, 0, 0], [1, 1, 1, 1]])).tolist() == [[9.0], [8.0]]


def test_position_weighted_mean_counts_tokens_only() -> None:
    # The tokens 1 and 3 are the first and the second, wherever padding is.
    assert position_weighted_mean(HIDDEN_STATES, MASK).tolist() == [[pytest.approx((1 * 1 + 2 * 3) / 3)], [0.0]]


def test_masked_mean_ignores_padding() -> None:
    assert masked_mean(HIDDEN_STATES, MASK).tolist() == [[2.0], [0.0]]


def test_masked_max_ignores_padding() -> None:
    assert masked_max(HIDDEN_STATES, MASK).tolist() == [[3.0], [0.0]]
    assert masked_max(-HIDDEN_STATES, MASK).tolist() == [[-1.0], [0.0]]


def test_masked_softmax_is_zero_on_padding() -> None:
    scores = torch.tensor([[[50.0, 0.0, 50.0, torch.log(torch.tensor(3.0))]], [[1.0, 2.0, 3.0, 4.0]]])
    expected = torch.tensor([[[0.0, 0.25, 0.0, 0.75]], [[0.0, 0.0, 0.0, 0.0]]])
    torch.testing.assert_close(masked_softmax(scores, MASK), expected)


def test_token_orders_put_padding_last() -> None:
    assert token_order(MASK).tolist() == [[1, 3, 0, 2], [0, 1, 2, 3]]
    assert reversed_token_order(MASK).tolist() == [[3, 1, 0, 2], [0, 1, 2, 3]]


def test_reversed_token_order_is_its_own_inverse_if_padding_is_last() -> None:
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
    reversed_order = reversed_token_order(mask)
    assert reversed_order.tolist() == [[2, 1, 0, 3], [3, 2, 1, 0]]
    assert torch.equal(reorder(reorder(HIDDEN_STATES, reversed_order), reversed_order), HIDDEN_STATES)


@pytest.mark.parametrize("padding", ["left", "right", "anywhere"])
def test_token_orders_equal_those_of_a_stable_sort(padding: str) -> None:
    generator = torch.Generator().manual_seed(0)
    for width in (1, 2, 17, 300):
        num_tokens = torch.randint(width + 1, (50, 1), generator=generator)
        mask = (torch.arange(width) < num_tokens).long()
        if padding == "left":
            mask = mask.flip(1)
        elif padding == "anywhere":
            mask = torch.randint(2, (50, width), generator=generator)
        negative_positions = torch.where(mask.ne(0), -torch.arange(width), 1)
        assert torch.equal(token_order(mask), mask.eq(0).int().argsort(dim=1, stable=True))
        assert torch.equal(reversed_token_order(mask), negative_positions.argsort(dim=1, stable=True))


def test_take_one_per_row_returns_zero_for_padding() -> None:
    assert take_one_per_row(HIDDEN_STATES, MASK, torch.tensor([3, 3])).tolist() == [[3.0], [0.0]]
    assert take_one_per_row(HIDDEN_STATES, MASK, torch.tensor([0, 0])).tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_masked_mean_of_a_long_row_does_not_overflow_half_precision(dtype: torch.dtype) -> None:
    states = torch.full((1, 8192, 1), 20.0, dtype=dtype)  # the sum overflows float16
    assert masked_mean(states, torch.ones(1, 8192, dtype=torch.long)).item() == 20.0


def test_position_weighted_mean_of_a_long_row_does_not_overflow_half_precision() -> None:
    states = torch.full((1, 8192, 1), 20.0, dtype=torch.float16)
    mean = position_weighted_mean(states, torch.ones(1, 8192, dtype=torch.long)).item()
    assert mean == pytest.approx(20.0, rel=1e-2)  # the first weights are below float16's precision

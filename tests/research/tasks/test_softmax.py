"""Softmax in blocks equals the softmax of all rows at once."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.special

from research.tasks import softmax
from research.tasks.softmax import BlockSoftmax, row_blocks


@pytest.mark.parametrize("rows_per_block", [1, 3, 100])
def test_block_softmax_matches_scipy(rows_per_block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(softmax, "BLOCK_BYTES", 8 * 4 * rows_per_block)  # 4 probabilities of 8 bytes per row
    generator = np.random.default_rng(0)
    logits = (100 * generator.normal(size=(7, 4))).astype(np.float32)
    expected = scipy.special.softmax(logits.astype(np.float64), axis=1)
    labels = generator.integers(4, size=7)
    block_softmax = BlockSoftmax(logits)
    np.testing.assert_allclose(block_softmax.rows(slice(2, 5)), expected[2:5], rtol=1e-12)
    np.testing.assert_allclose(block_softmax.columns(slice(1, 3)), expected[:, 1:3], rtol=1e-12)
    np.testing.assert_allclose(block_softmax.probabilities_of(labels), expected[range(7), labels], rtol=1e-12)
    np.testing.assert_allclose(block_softmax.confidence, expected.max(axis=1), rtol=1e-12)
    assert block_softmax.rows(slice(0, 1)).dtype == np.float64


def test_block_softmax_of_nonfinite_logits_is_nan_without_a_warning() -> None:
    block_softmax = BlockSoftmax(np.array([[math.nan, 0.0], [math.inf, 0.0], [1.0, 1.0]]))
    assert np.isnan(block_softmax.rows(slice(0, 2))).any(axis=1).tolist() == [True, True]
    assert block_softmax.rows(slice(2, 3)).tolist() == [[0.5, 0.5]]


def test_row_blocks_cover_all_rows_and_contain_at_least_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(softmax, "BLOCK_BYTES", 8 * 4 * 3)  # 3 rows with 4 probabilities of 8 bytes
    assert list(row_blocks(7, 4)) == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert list(row_blocks(2, 1000)) == [slice(0, 1), slice(1, 2)]
    assert list(row_blocks(0, 4)) == []

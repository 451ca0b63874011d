"""Scalar mix head, with results computed by hand."""

from __future__ import annotations

import math

import pytest
import torch

from heads.scalar_mix import ScalarMixHead
from tests.heads.by_hand import ENCODER_SPEC, HIDDEN_STATES, MASK, set_output_layer


def test_scalar_mix_head_matches_logits_computed_by_hand() -> None:
    head = ScalarMixHead(ENCODER_SPEC, 1).eval()
    head.mixture.data = torch.tensor([0.0, 0.0, 0.0, math.log(3.0)])
    head.gamma.data = torch.tensor(2.0)
    set_output_layer(head, [[1.0, 0.0]], [0.0])
    layers = tuple(HIDDEN_STATES * factor for factor in (1.0, 2.0, 3.0, 4.0))
    # The softmax of the mixture gives the layers the weights 1/6, 1/6, 1/6 and 3/6. The logit is gamma, times the mean
    # of the tokens' first features 1 and 3, times the weighted mean of the four factors.
    assert head(layers, MASK).item() == pytest.approx(2 * 2 * (1 + 2 + 3 + 3 * 4) / 6)

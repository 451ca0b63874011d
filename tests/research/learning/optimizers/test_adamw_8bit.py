"""AdamW with 8-bit state: devices, and the size of the state."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from research.learning.optimizers.base import OPTIMIZERS


def test_averages_of_large_parameters_are_stored_in_8_bits() -> None:
    large, small = nn.Parameter(torch.ones(64, 64)), nn.Parameter(torch.ones(64))
    large.grad, small.grad = torch.ones(64, 64), torch.ones(64)
    optimizer = OPTIMIZERS["adamw_8bit"]().create([{"params": [large, small], "lr": 0.1, "weight_decay": 0.0}])
    optimizer.step()
    assert {optimizer.state[large][key].dtype for key in ("state1", "state2")} == {torch.uint8}
    assert {optimizer.state[small][key].dtype for key in ("state1", "state2")} == {torch.float32}


def test_devices_without_kernels_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("research.learning.optimizers.adamw_8bit.DEVICES", ("cuda",))
    with pytest.raises(ValueError, match=r"CPU .*adamw_8bit.*cpu.*--optimizer"):
        OPTIMIZERS["adamw_8bit"]().create([{"params": [nn.Parameter(torch.ones(2))]}])

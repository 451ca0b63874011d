"""The settings of --shard that do not fit the launch are refused."""

from __future__ import annotations

import pytest

from tests.research.conftest import StartRun


def test_fp16_without_its_gradient_scaler_is_refused(start_run: StartRun) -> None:
    with pytest.raises(ValueError, match=r"--mixed_precision fp16 .*got --mixed_precision no"):
        start_run(shard="fsdp2", shard_precision="fp16")


def test_offloading_without_a_gpu_is_refused(start_run: StartRun) -> None:
    with pytest.raises(ValueError, match="--shard_cpu_offload requires a GPU"):
        start_run(shard="fsdp2", shard_cpu_offload=True)

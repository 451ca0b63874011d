"""The libraries and the processor that determine rounding are recorded."""

from __future__ import annotations

import torch
import transformers

from research.training.rounding import rounding_environment


def test_rounding_environment_returns_libraries_and_processor() -> None:
    assert rounding_environment(torch.device("cpu")) == {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "processor": torch.backends.cpu.get_cpu_capability(),
    }

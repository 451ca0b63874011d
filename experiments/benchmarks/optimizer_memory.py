"""Measure the size of each optimizer's state, in bytes per parameter of a model.

Usage: python experiments/benchmarks/optimizer_memory.py [ENCODER]. The encoder is minilm by default.
"""

from __future__ import annotations

import sys

import torch

from research.learning.optimizer import create_optimizer
from research.learning.optimizers.base import OPTIMIZERS
from research.model.build_model import build_model
from research.model.families import model_blocks
from research.settings.config import RunConfig
from research.tasks.single_label import SingleLabel

OPTIONS: list[tuple[str, dict[str, float]]] = [*((name, {}) for name in OPTIMIZERS), ("sgd", {"momentum": 0.9})]
"""Names and options of the measured optimizers."""


def measure_state(config: RunConfig) -> float:
    """Return the size of the optimizer's state after one step, in bytes per parameter."""
    model = build_model(config, SingleLabel(("negative", "positive")))
    optimizer = create_optimizer(model_blocks(model.encoder, model.head), config)
    parameters = list(model.parameters())
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    # Each storage once: bitsandbytes shares its table of the values of 8-bit numbers.
    storages = {
        value.untyped_storage().data_ptr(): value.untyped_storage().nbytes()
        for state in optimizer.state.values()
        for value in state.values()
        if isinstance(value, torch.Tensor)
    }
    return sum(storages.values()) / sum(parameter.numel() for parameter in parameters)


def main() -> None:
    """Print a line for each optimizer."""
    encoder = sys.argv[1] if len(sys.argv) > 1 else "minilm"
    for name, options in OPTIONS:
        size = measure_state(RunConfig(encoder=encoder, optimizer={"name": name, **options}))
        print(f"{name} {options or ''}: {size:.2f} bytes per parameter")


if __name__ == "__main__":
    main()

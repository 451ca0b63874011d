"""The optimizer: one parameter group per block of the model and weight decay yes or no."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from research.config import RunConfig
from research.schedules import Schedule

Blocks = Sequence[tuple[str, Sequence[tuple[str, nn.Parameter]]]]


def block_rates(blocks: Blocks, config: RunConfig) -> dict[str, float]:
    """Return the peak learning rate of each block: it falls by `layer_decay` for every layer further from the head.

    Source: Howard & Ruder 2018 (discriminative fine-tuning); Clark et al. 2020 (ELECTRA, layer-wise decay).

    Args:
        blocks: the model's blocks from `model_blocks`, embeddings first, the layers in order, the head last.
        config: settings; uses lr, head_lr and layer_decay.
    """
    num_layers = sum(name.startswith("layer.") for name, _ in blocks)
    rates = {}
    for name, _ in blocks:
        if name == "head":
            rates[name] = config.lr if config.head_lr is None else config.head_lr
        elif name == "embeddings":
            rates[name] = config.lr * config.layer_decay**num_layers
        elif name.startswith("layer."):
            rates[name] = config.lr * config.layer_decay ** (num_layers - 1 - int(name.removeprefix("layer.")))
        else:
            rates[name] = config.lr
    return rates


def create_optimizer(blocks: Blocks, config: RunConfig) -> torch.optim.Optimizer:
    """Return the optimizer; each group carries its `block` and `base_lr`, the rate that the schedule multiplies.

    Matrices decay, vectors (norms, biases) do not. Frozen parameters are in their groups too: groups must exist from
    the start, since schedulers do not follow later ones.

    Args:
        blocks: the model's blocks from `model_blocks`.
        config: settings; uses optimizer, weight_decay and those of `block_rates`.
    """
    rates = block_rates(blocks, config)
    groups = [
        {"params": chosen, "lr": rates[block], "base_lr": rates[block], "block": block, "weight_decay": decay}
        for block, parameters in blocks
        for decay, chosen in (
            (config.weight_decay, [parameter for _, parameter in parameters if parameter.ndim >= 2]),
            (0.0, [parameter for _, parameter in parameters if parameter.ndim < 2]),
        )
        if chosen
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.lr)
    return torch.optim.AdamW(groups, lr=config.lr, fused=True)


def apply_schedule(optimizer: torch.optim.Optimizer, schedule: Schedule) -> None:
    """Set each group's learning rate to its base rate times the schedule's factor, and its momentum if that moves."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * schedule.factor
        if schedule.momentum is not None:
            if "betas" in group:
                group["betas"] = (schedule.momentum, group["betas"][1])
            else:
                group["momentum"] = schedule.momentum


def learning_rates(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """Return the current learning rate of each block."""
    return {group["block"]: float(group["lr"]) for group in optimizer.param_groups}

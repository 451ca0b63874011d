"""The optimizer, with two parameter groups per block of the model: with and without weight decay."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import nn

from research.learning.schedules import Schedule
from research.settings.config import RunConfig

Blocks = Sequence[tuple[str, Sequence[tuple[str, nn.Parameter]]]]
"""Name of each block, with the names and values of its parameters."""

SETTINGS_BY_GROUP_KEY = {"base_lr": ("lr", "head_lr", "layer_decay"), "weight_decay": ("weight_decay",)}
"""For each key of a parameter group that is computed from settings: the names of these settings."""
MOMENTUM_KEYS = ("betas", "momentum")
"""Keys of a parameter group that hold the momentum: the first in AdamW, the second in SGD."""


def base_rates(blocks: Blocks, config: RunConfig) -> dict[str, float]:
    """Return the base rate of each block, which is its peak learning rate.

    The head has `head_lr`, or `lr` if `head_lr` is None. In the encoder, rates decrease from `lr` at the top layer by a
    factor of `layer_decay` for each layer below, and once more for the embeddings. The rest of the encoder has `lr`.

    Source: Howard & Ruder 2018 (discriminative fine-tuning); Clark et al. 2020 (ELECTRA, layer-wise decay).

    Args:
        blocks: the model's blocks from `model_blocks`: embeddings first, then the layers in order, the head last.
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


def parameter_groups(blocks: Blocks, config: RunConfig) -> list[dict[str, Any]]:
    """Return two parameter groups per block, each with the keys `block`, `decays` (a bool) and `base_lr`.

    Weight decay applies to matrices, not to vectors (norms, biases). The schedule multiplies `base_lr`. Frozen
    parameters are in their groups too, and a group may be empty: all groups must exist from the start, because
    `regroup` adds none.

    Args:
        blocks: the model's blocks from `model_blocks`.
        config: settings; uses weight_decay and the settings of `base_rates`.
    """
    rates = base_rates(blocks, config)
    return [
        {
            "params": [parameter for _, parameter in parameters if (parameter.ndim >= 2) == decays],
            "lr": rates[block],
            "base_lr": rates[block],
            "block": block,
            "decays": decays,
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for block, parameters in blocks
        for decays in (True, False)
    ]


def create_optimizer(blocks: Blocks, config: RunConfig) -> torch.optim.Optimizer:
    """Return the optimizer of a run.

    Args:
        blocks: the model's blocks from `model_blocks`.
        config: settings; uses optimizer and the settings of `parameter_groups`.
    """
    groups = parameter_groups(blocks, config)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.lr)
    return torch.optim.AdamW(groups, lr=config.lr, fused=True)


def regroup(optimizer: torch.optim.Optimizer, blocks: Blocks, reset_parameters: Collection[nn.Parameter] = ()) -> None:
    """Update the optimizer's groups after an edit of the model.

    A group keeps its parameters: after layers are dropped, the remaining layers keep their rates under their new
    numbers. New parameters join the group of their block. The state of removed or reset parameters is dropped.

    Args:
        optimizer: the optimizer of `create_optimizer`.
        blocks: the model's current blocks.
        reset_parameters: parameters whose values were reset.
    """
    group_keys: dict[torch.Tensor, tuple[str, bool]] = {
        parameter: (block, parameter.ndim >= 2) for block, parameters in blocks for _, parameter in parameters
    }
    kept_groups: dict[tuple[str, bool], dict[str, Any]] = {}
    emptied_groups = []
    for group in optimizer.param_groups:
        keys = {group_keys[parameter] for parameter in group["params"] if parameter in group_keys}
        assert len(keys) <= 1, f"an edit split a group over {keys}"
        if keys:
            group["block"], group["decays"] = key = keys.pop()
            kept_groups[key] = group
        else:
            emptied_groups.append(group)
    names = [block for block, _ in blocks]
    for group in emptied_groups:  # keep the group if its block still exists, because the block may have new parameters
        if group["block"] in names:
            kept_groups.setdefault((group["block"], group["decays"]), group)
    for (block, decays), group in kept_groups.items():
        group["params"] = [parameter for parameter, key in group_keys.items() if key == (block, decays)]
    optimizer.param_groups[:] = [
        kept_groups[block, decays] for block in names for decays in (True, False) if (block, decays) in kept_groups
    ]
    for parameter in list(optimizer.state):
        if parameter not in group_keys or parameter in reset_parameters:
            del optimizer.state[parameter]


def apply_schedule(optimizer: torch.optim.Optimizer, schedule: Schedule) -> None:
    """Set each group's learning rate to its base rate times the schedule's factor, and its momentum if scheduled."""
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

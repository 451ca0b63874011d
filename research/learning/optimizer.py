"""The parameter groups of optimizers: two per block of the model, with and without weight decay."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from research.learning.optimizers.base import OPTIMIZERS, OptimizerKind, ParameterGroups
from research.learning.optimizers.split_parameters import StepsOnParts, StepsOnWholeParameters
from research.learning.schedules import Schedule
from research.settings.config import Choice, RunConfig
from research.settings.options import create

Blocks = Sequence[tuple[str, Sequence[tuple[str, nn.Parameter]]]]
"""Name of each block, with the names and values of its parameters."""

SETTINGS_BY_GROUP_KEY = {"base_lr": ("lr", "head_lr", "layer_decay"), "weight_decay": ("weight_decay",)}
"""For each key of a parameter group that is computed from settings: the names of these settings."""
MOMENTUM_KEYS = ("betas", "momentum")
"""Keys of a parameter group that hold the momentum: the first as in AdamW, the second as in SGD."""


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


def choose_optimizer(config: RunConfig) -> OptimizerKind:
    """Return the optimizer kind in the settings, with its options.

    Raises:
        ValueError: if the name or an option is unknown, or an option is invalid.
    """
    kind: OptimizerKind = create(OPTIMIZERS, Choice.of(config.optimizer, "optimizer"))
    return kind


def parameter_groups(blocks: Blocks, config: RunConfig, kind: OptimizerKind) -> ParameterGroups:
    """Return two parameter groups per block, each with the keys `block`, `decays` (a bool), `part` and `base_lr`.

    Weight decay applies to matrices, not to vectors (norms, biases). The schedule multiplies `base_lr`. If the
    optimizer has several parts, a block has one group with matrices for each part. Frozen parameters are in their
    groups too, and a group may be empty: all groups must exist from the start, because `regroup` adds none.

    Args:
        blocks: the model's blocks from `model_blocks`.
        config: settings; uses weight_decay and the settings of `base_rates`.
        kind: determines the part of each parameter.
    """
    rates = base_rates(blocks, config)
    keys = _group_keys(blocks, kind)
    return [
        {
            "params": [parameter for parameter, its_key in keys.items() if its_key == key],
            "lr": rates[key.block],
            "base_lr": rates[key.block],
            "block": key.block,
            "decays": key.decays,
            "part": key.part,
            "weight_decay": config.weight_decay if key.decays else 0.0,
        }
        for block, _ in blocks
        for key in _keys_of_block(block, kind)
    ]


def create_optimizer(blocks: Blocks, config: RunConfig, kind: OptimizerKind | None = None) -> torch.optim.Optimizer:
    """Return the optimizer of a run.

    Args:
        blocks: the model's blocks from `model_blocks`.
        config: settings; uses optimizer and the settings of `parameter_groups`.
        kind: the kind of `choose_optimizer`, if it has been created already.
    Raises:
        ValueError: see `choose_optimizer`; also if the optimizer does not support the parameters' device.
    """
    kind = kind or choose_optimizer(config)
    return _create(kind, parameter_groups(blocks, config, kind), config)


def create_successor(
    optimizer: torch.optim.Optimizer, kind: OptimizerKind, blocks: Blocks, config: RunConfig, lr: float | None
) -> torch.optim.Optimizer:
    """Return a new optimizer of any kind, without state, that takes over the base rates and the weight decay of blocks.

    Args:
        optimizer: the optimizer to replace.
        kind: kind of the new optimizer.
        blocks: the model's current blocks.
        config: settings of the run.
        lr: base rate of the encoder's last layer; the other base rates change by the same factor. None keeps all rates.
    """
    rates = {group["block"]: group["base_lr"] for group in optimizer.param_groups}
    weight_decays = {(group["block"], group["decays"]): group["weight_decay"] for group in optimizer.param_groups}
    num_layers = sum(name.startswith("layer.") for name, _ in blocks)
    factor = 1.0 if lr is None else lr / rates[f"layer.{num_layers - 1}"]
    groups = parameter_groups(blocks, config, kind)
    for group in groups:
        group["lr"] = group["base_lr"] = rates[group["block"]] * factor
        group["weight_decay"] = weight_decays[group["block"], group["decays"]]
    return _create(kind, groups, config)


def _create(kind: OptimizerKind, groups: ParameterGroups, config: RunConfig) -> torch.optim.Optimizer:
    """Return an optimizer that works with split parameters if the settings split them."""
    optimizer = kind.create(groups)
    if config.shard is None:
        return optimizer
    kind_of_steps = StepsOnParts if kind.is_elementwise else StepsOnWholeParameters
    return kind_of_steps(optimizer.param_groups, optimizer)


def regroup(
    optimizer: torch.optim.Optimizer,
    kind: OptimizerKind,
    blocks: Blocks,
    reset_parameters: Collection[nn.Parameter] = (),
) -> None:
    """Update the optimizer's groups after an edit of the model.

    A group keeps its parameters: after layers are dropped, the remaining layers keep their rates under their new
    numbers. New parameters join the group of their block. The state of removed or reset parameters is dropped.

    Args:
        optimizer: the optimizer of `create_optimizer`.
        kind: its kind.
        blocks: the model's current blocks.
        reset_parameters: parameters whose values were reset.
    """
    group_keys = _group_keys(blocks, kind)
    kept_groups: dict[GroupKey, dict[str, Any]] = {}
    emptied_groups = []
    for group in optimizer.param_groups:
        keys = {group_keys[parameter] for parameter in group["params"] if parameter in group_keys}
        assert len(keys) <= 1, f"an edit split a group over {keys}"
        if keys:
            key = keys.pop()
            group["block"], group["decays"], group["part"] = key
            kept_groups[key] = group
        else:
            emptied_groups.append(group)
    names = [block for block, _ in blocks]
    for group in emptied_groups:  # keep the group if its block still exists, because the block may have new parameters
        if group["block"] in names:
            kept_groups.setdefault(GroupKey(group["block"], group["decays"], group["part"]), group)
    for key, group in kept_groups.items():
        group["params"] = [parameter for parameter, its_key in group_keys.items() if its_key == key]
    ordered_keys = [key for block in names for key in _keys_of_block(block, kind)]
    optimizer.param_groups[:] = [kept_groups[key] for key in ordered_keys if key in kept_groups]
    for parameter in list(optimizer.state):
        if parameter not in group_keys or parameter in reset_parameters:
            del optimizer.state[parameter]


class GroupKey(NamedTuple):
    """What distinguishes a parameter group."""

    block: str
    """Name of the block."""
    decays: bool
    """Whether the parameters are matrices, which have weight decay."""
    part: str
    """Part of the optimizer that updates the parameters."""


def _keys_of_block(block: str, kind: OptimizerKind) -> list[GroupKey]:
    """Return the keys of all groups that a block may have."""
    return [*(GroupKey(block, True, part) for part in kind.parts), GroupKey(block, False, kind.parts[-1])]


def _group_keys(blocks: Blocks, kind: OptimizerKind) -> dict[torch.Tensor, GroupKey]:
    """Return the key of the group of each parameter."""
    keys: dict[torch.Tensor, GroupKey] = {}
    for block, parameters in blocks:
        matrices = [parameter for _, parameter in parameters if parameter.ndim >= 2]
        parts = dict(zip(matrices, kind.assign_parts(block, matrices), strict=True))
        for _, parameter in parameters:
            is_matrix = parameter in parts
            keys[parameter] = GroupKey(block, is_matrix, parts[parameter] if is_matrix else kind.parts[-1])
    return keys


def apply_schedule(optimizer: torch.optim.Optimizer, schedule: Schedule) -> None:
    """Set each group's learning rate to its base rate times the schedule's factor, and its momentum if scheduled."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * schedule.factor
        if schedule.momentum is not None:
            if "betas" in group:
                group["betas"] = (schedule.momentum, *group["betas"][1:])
            else:
                group["momentum"] = schedule.momentum


def learning_rates(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """Return the current learning rate of each block."""
    return {group["block"]: float(group["lr"]) for group in optimizer.param_groups}

"""The optimizer's state in a checkpoint, by the names of parameters, for any number of processes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from research.system.indexed_tensors import open_tensors
from research.system.safetensors_file import StoredTensors
from research.system.sharded_tensors import distribute, is_sharded
from research.system.value_codec import decode, encode
from research.training.checkpoint.find import CheckpointError

OPTIMIZER_VALUES = "optimizer.json"
"""File in a checkpoint with the optimizer's parameter groups and the plain values of its state."""
OPTIMIZER_TENSORS = "optimizer.safetensors"
"""File in a checkpoint with the tensors of the optimizer's state."""


class EncodedOptimizer:
    """An optimizer's state that is ready to be written.

    Args:
        optimizer: the optimizer.
        names: the names of its parameters.
    Raises:
        TypeError: if the state contains values that cannot be stored.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, names: Mapping[nn.Parameter, str]) -> None:
        self.tensors: dict[str, Tensor] = {}
        """The state's tensors, of which each process may hold a part."""
        groups = [
            {**group, "params": [names[parameter] for parameter in group["params"]]} for group in optimizer.param_groups
        ]
        state = {
            name: encode(optimizer.state[parameter], name, self.tensors)
            for parameter, name in names.items()
            if parameter in optimizer.state
        }
        self._json = {"groups": encode(groups, "groups", {}), "state": state}

    def write(self, folder: Path) -> None:
        """Write the state into a folder, except for its tensors."""
        (folder / OPTIMIZER_VALUES).write_text(json.dumps(self._json, indent=1), encoding="utf-8")


def load_optimizer(folder: Path, optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]) -> None:
    """Load the state that `EncodedOptimizer` wrote. Each process reads only its parts of split tensors.

    Args:
        folder: the checkpoint.
        optimizer: an optimizer with the same groups of parameters.
        parameters: the model's parameters by name.
    Raises:
        CheckpointError: if the groups differ.
        OSError, LookupError, TypeError, ValueError, SafetensorError: if the files cannot be read, or are damaged.
    """
    names = {parameter: name for name, parameter in parameters.items()}
    saved = json.loads((folder / OPTIMIZER_VALUES).read_text(encoding="utf-8"))
    groups: list[dict[str, Any]] = decode(saved["groups"], _refuse_tensor)
    expected = [[names[parameter] for parameter in group["params"]] for group in optimizer.param_groups]
    found = [group.pop("params") for group in groups]
    if found != expected:
        raise CheckpointError(f"{folder} does not fit this run: its optimizer has other groups of parameters.")
    optimizer.state.clear()
    with open_tensors(folder / OPTIMIZER_TENSORS) as file:
        for group, values in zip(optimizer.param_groups, groups, strict=True):
            group.update(values)
            for parameter in group["params"]:
                if names[parameter] in saved["state"]:
                    encoded = saved["state"][names[parameter]]
                    optimizer.state[parameter] = _decode_state(encoded, file, parameter, group)


def _decode_state(
    encoded: Any, file: StoredTensors, parameter: nn.Parameter, group: Mapping[str, Any]
) -> dict[str, Any]:
    def read(name: str) -> Tensor:
        # PyTorch's optimizers keep the count of steps on the CPU, unless they read it on the device.
        is_count = name.rpartition("/")[2] == "step" and not (group.get("fused") or group.get("capturable"))
        device = torch.device("cpu") if is_count or _is_offloaded(parameter) else parameter.device
        if is_sharded(parameter) and file.shape(name) == list(parameter.shape):
            return distribute(file.read_part(name, parameter).to(device), parameter)
        return file.read(name).to(device)

    state = decode(encoded, read)
    if not isinstance(state, dict):
        raise ValueError(f"expected the state of a parameter, found {str(state)[:200]}")
    return state


def _is_offloaded(parameter: nn.Parameter) -> bool:
    """Return whether the parts of a parameter are in the memory of the CPU."""
    sharded: Any = parameter.detach()
    return is_sharded(parameter) and sharded.to_local().device.type == "cpu"


def _refuse_tensor(name: str) -> Tensor:
    raise ValueError(f"expected no tensor in the optimizer's settings, found {name}")

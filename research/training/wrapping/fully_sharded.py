"""PyTorch's `fully_shard`: what it does to modules, and how to undo it.

PyTorch cannot undo `fully_shard`, so this module uses private attributes of PyTorch, which may change between minor
versions. Only the versions in `research.system.sharding_versions` are accepted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.distributed._composable.contract import REGISTRY_KEY, STATE_KEY
from torch.distributed._composable_state import _module_state_mapping
from torch.distributed.fsdp import FSDPModule


def sharded_parameters(model: nn.Module) -> Iterator[Any]:
    """Yield PyTorch's records of the parameters that `fully_shard` has split."""
    for state in sharding_states(model).values():
        for group in state._fsdp_param_groups:
            yield from group.fsdp_params


def sharding_states(model: nn.Module) -> dict[nn.Module, Any]:
    """Return PyTorch's state of each module to which `fully_shard` was applied, the outermost first."""
    return {module: module._get_fsdp_state() for module in model.modules() if isinstance(module, FSDPModule)}


def has_run(record: Any) -> bool:
    """Return whether a parameter has been gathered since it was split."""
    return hasattr(record, "_unsharded_param")


def modules_that_never_ran(model: nn.Module) -> Iterator[FSDPModule]:
    """Yield the modules some of whose parameters have not been gathered since they were split."""
    for module, state in sharding_states(model).items():
        if not all(has_run(record) for group in state._fsdp_param_groups for record in group.fsdp_params):
            assert isinstance(module, FSDPModule)
            yield module


def complete_sharding(model: nn.Module) -> None:
    """Complete `fully_shard`, which otherwise waits for the first forward pass of the model.

    From then on, the forward pass of a part of the model does not make that part the root.
    """
    sharding_states(model)[model]._lazy_init()


def use_split_parameter(record: Any, parameter: Any) -> None:
    """Let PyTorch's record of a parameter without values use another one, which was split in the same way before."""
    device = torch.device("cpu") if record.offload_to_cpu else record.device
    parameter._local_tensor = parameter._local_tensor.to(device)
    parameter.requires_grad_(record.sharded_param.requires_grad)
    record._setattr_on_modules(parameter)
    record.reset_sharded_param()


def forget_forward_passes(model: nn.Module) -> None:
    """Forget the order of forward passes without a backward pass, in which the next backward pass would prefetch."""
    for state in sharding_states(model).values():
        state._comm_ctx.post_forward_order.clear()
        for group in state._fsdp_param_groups:
            group._post_forward_indices.clear()


def reset_dtypes(model: nn.Module) -> None:
    """Determine again in which data types each module gathers parameters and averages gradients.

    `fully_shard` does so only once, from the parameters that train then
    (https://github.com/pytorch/pytorch/issues/186998).
    """
    for state in sharding_states(model).values():
        for group in state._fsdp_param_groups:
            group._init_mp_dtypes()


def undo_fully_shard(model: nn.Module) -> None:
    """Remove everything that `fully_shard` added to the modules. The modules keep the parameters that they hold."""
    for module, state in sharding_states(model).items():
        for group in state._fsdp_param_groups:
            for parameter in group.fsdp_params:
                parameter._post_load_hook_handle.remove()
            for handles in (
                group._module_to_pre_save_state_dict_hook_handle,
                group._module_to_pre_load_state_dict_hook_handle,
            ):
                for handle in handles.values():
                    handle.remove()
        state._pre_forward_hook_handle.remove()
        state._post_forward_hook_handle.remove()
        for key in (STATE_KEY, REGISTRY_KEY):
            vars(module).pop(key)
        _module_state_mapping.pop(module, None)
        module.__class__ = type(module).__mro__[FSDPModule._orig_cls_mro_index]
    for module in model.modules():
        for name in ("_is_fsdp_managed_module", "_fsdp_use_orig_params"):
            vars(module).pop(name, None)

"""The checks after the edits of a boundary. If one fails, the run ends on every process.

1. The optimizer holds every parameter of the model exactly once and nothing else; frozen parameters have no gradient.
2. The gradients of exactly the parameters that train are averaged over the processes: see `Wrapping.check`.
3. Every group's learning rate is its base rate times the schedule's factor.
4. Parameters, saved buffers, frozen mask (which parameters are frozen) and learning rates are bit-identical on all
   processes.
5. A compiled model was compiled for the parameters that train now.

Two further checks run during each step: `check_trainable_unchanged`, and for compiled models `check_gradients_arrive`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from research.model.parameters import saved_buffers
from research.model.selectors import shortest_selectors
from research.system.checksums import checksum
from research.system.sharded_tensors import device_of_processes, is_sharded
from research.training.audit_error import MAX_LISTED, AuditError, raise_if

if TYPE_CHECKING:
    from research.learning.schedules import Schedule
    from research.model.encoder_with_head import EncoderWithHead
    from research.training.wrapping.base import Wrapping

Gather = Callable[[Tensor], Tensor]


def check_optimizer(model: EncoderWithHead, optimizer: torch.optim.Optimizer) -> None:
    """Check 1: optimizer and model hold the same parameters, and frozen parameters have no gradient.

    Raises:
        AuditError: if not; names the parameters.
    """
    names = {parameter: name for name, parameter in model.named_parameters()}
    counts = Counter(parameter for group in optimizer.param_groups for parameter in group["params"])
    wrong = [f"{name} is in {counts[parameter]} groups" for parameter, name in names.items() if counts[parameter] != 1]
    raise_if("every parameter must be in exactly one optimizer group", wrong)
    removed = [parameter for parameter in (*counts, *optimizer.state) if parameter not in names]
    raise_if(
        "parameters removed from the model must be removed from the optimizer",
        [f"a parameter of shape {list(parameter.shape)} is still in it" for parameter in removed],
    )
    raise_if(
        "a frozen parameter must have no gradient",
        [
            f"{name} has one"
            for parameter, name in names.items()
            if not parameter.requires_grad and _has_grad(parameter)
        ],
    )


def check_rates(optimizer: torch.optim.Optimizer, schedule: Schedule) -> None:
    """Check 3: every group's learning rate is its base rate times the schedule's factor.

    Raises:
        AuditError: if a learning rate differs; names the blocks.
    """
    wrong = [
        f"{group['block']} has {group['lr']:.6g} instead of {group['base_lr'] * schedule.factor:.6g}"
        for group in optimizer.param_groups
        if group["lr"] != group["base_lr"] * schedule.factor
    ]
    raise_if("learning rates must follow the schedule (change them with set_lr or scale_lr)", wrong)


def check_replicas(
    model: EncoderWithHead,
    optimizer: torch.optim.Optimizer,
    gather: Gather,
    num_processes: int,
    *,
    num_shards: int = 1,
    held: Callable[[Tensor], Tensor] = lambda tensor: tensor,
) -> None:
    """Check 4: all processes hold the same parameters, saved buffers, frozen mask and learning rates.

    If parameters are split, only the processes that hold the same parts are compared.

    Called on every process.

    Args:
        model: the bare model.
        optimizer: its optimizer.
        gather: concatenates the tensors of all processes along the first dimension.
        num_processes: number of processes.
        num_shards: number of parts of each split parameter; the process of rank r holds part r modulo this number.
        held: returns the tensor with the values of a parameter; see `Wrapping.held`.
    Raises:
        AuditError: on every process, if the processes differ; names what differs.
    """
    if num_processes == 1:
        return
    named = [(name, held(parameter)) for name, parameter in model.named_parameters()]
    mask = [parameter.requires_grad for parameter in model.parameters()]
    # Buffers that are not saved are not compared: they are recomputed, and may depend on each process's inputs.
    buffers = saved_buffers(model)
    device = device_of_processes(named[0][1])
    rates = torch.tensor([group["lr"] for group in optimizer.param_groups], dtype=torch.float64).view(torch.int64)
    values = torch.cat(
        [
            torch.stack([checksum(tensor).to(device) for _, tensor in (*named, *buffers)]),
            torch.tensor(mask, device=device).long(),
            rates.to(device),
        ]
    )
    sizes = gather(torch.tensor([len(values)], device=device))
    if len(sizes.unique()) > 1:
        raise AuditError(
            f"Audit: the models of the processes differ in structure; values compared per process: {sizes.tolist()}."
        )
    gathered = gather(values.unsqueeze(0))
    is_split = torch.tensor([is_sharded(parameter) for _, parameter in named])
    holder_of_same = torch.where(is_split, torch.arange(num_processes)[:, None] % num_shards, 0)
    expected = gathered[0].repeat(num_processes, 1)
    expected[:, : len(named)] = gathered[:, : len(named)].gather(0, holder_of_same.to(device))
    differs = (gathered != expected).any(dim=0).tolist()
    descriptions = [
        *(f"the values of {name}" for name, _ in named),
        *(f"the values of the buffer {name}" for name, _ in buffers),
        *(f"whether {name} is frozen" for name, _ in named),
        *(f"the learning rate of {group['block']}" for group in optimizer.param_groups),
    ]
    raise_if(
        "all processes must have the same parameters, buffers, frozen mask and learning rates",
        [f"{name} differs" for name, is_different in zip(descriptions, differs, strict=True) if is_different],
    )


def check_compiled(wrapping: Wrapping) -> None:
    """Check 5: the compiled code was made for the parameters that train now.

    Raises:
        AuditError: if different parameters trained at compilation; names the parameters.
    """
    if wrapping.is_compiled:
        raise_if(
            "a compiled model must be compiled again when different parameters train",
            [f"{name} (changed since compilation)" for name in wrapping.differing_parameters()],
        )


def check_gradients_arrive(model: EncoderWithHead) -> None:
    """Check that every trainable parameter of a compiled model has a gradient; called after the backward pass.

    Raises:
        AuditError: if a trainable parameter has no gradient; names the parameters.
    """
    raise_if(
        "every parameter that trains must get a gradient from the compiled model",
        [f"{name} got none" for name in parameters_without_gradient(model)],
    )


def parameters_without_gradient(model: EncoderWithHead) -> list[str]:
    """Return the names of trainable parameters without a gradient."""
    return [
        name for name, parameter in model.named_parameters() if parameter.requires_grad and not _has_grad(parameter)
    ]


def describe_unused(model: EncoderWithHead, unused: list[str]) -> str:
    """Return a message about parameters that get no gradient, with possible remedies, without a final period."""
    more = f" and {len(unused) - MAX_LISTED} more" if len(unused) > MAX_LISTED else ""
    listed = ", ".join(unused[:MAX_LISTED]) + more
    return (
        f"the loss does not depend on {listed}, trainable parameters that therefore get no gradient. Use them in the "
        f"head's forward, remove them, or freeze them (--freeze {','.join(shortest_selectors(model, unused))})"
    )


def check_trainable_unchanged(wrapping: Wrapping) -> None:
    """Check that no parameter was frozen, unfrozen, added or removed without an edit.

    Raises:
        AuditError: if such a parameter is found; names the parameters.
    """
    if not wrapping.fits():
        changed = ", ".join(wrapping.differing_parameters()) or "their order"
        raise AuditError(
            f"The trainable parameters were changed without an edit: {changed}. Request an edit instead, for example "
            "run.edit.freeze('encoder.embeddings'): edits reach every process and the optimizer."
        )


def _has_grad(parameter: nn.Parameter) -> bool:
    return parameter.grad is not None

"""Hash every part of a run's state after a step, to find where a resumed run differs from an uninterrupted one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
import xxhash

from research.system import random_states
from research.system.sharded_tensors import local_part

if TYPE_CHECKING:
    from research.training.run import TrainingRun


def hash_run_state(run: TrainingRun) -> dict[str, str]:
    """Return the hash of each part of the state by name: weights, optimizer, random generators, hooks and so on.

    If tensors are split over the processes, their hashes are those of this process's parts.
    """
    return {name: hash_value(value) for name, value in _parts(run)}


def _parts(run: TrainingRun) -> Iterator[tuple[str, Any]]:
    model = run.encoder_with_head
    for name, value in model.state_dict().items():
        yield f"weight {name}", value
    for name, parameter in model.named_parameters():
        for key, value in run.optimizer.state.get(parameter, {}).items():
            yield f"optimizer's {key} of {name}", value
    for name, value in random_states.capture(run.accelerator.device).items():
        yield f"generator {name}", value
    for hook in run.hooks:
        for name, value in hook.state_dict().items():
            yield f"hook {type(hook).__name__}: {name}", value
    for group in run.optimizer.param_groups:
        kind = "with" if group["decays"] else "without"
        settings = {name: value for name, value in group.items() if name != "params"}
        yield f"optimizer's settings of {group['block']}, {kind} weight decay", settings
    yield "which parameters train", [name for name, value in model.named_parameters() if value.requires_grad]
    yield "schedule", run.schedule.state_dict()
    yield "clock", run.clock.state_dict()
    yield "journal", [asdict(record) for record in run.applied_edits.journal]


def hash_value(value: Any) -> str:
    """Return the hash of a value that consists of plain values, lists, dicts and tensors."""
    digest = xxhash.xxh3_128()
    _update(digest, value)
    return digest.hexdigest()


def _update(digest: Any, value: Any) -> None:
    if isinstance(value, torch.Tensor):
        digest.update(f"{value.dtype} {tuple(value.shape)} ".encode())
        digest.update(local_part(value).cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    elif isinstance(value, dict):
        for key, item in value.items():
            digest.update(f"{key}: ".encode())
            _update(digest, item)
    elif isinstance(value, list | tuple):
        digest.update(f"{len(value)} items ".encode())
        for item in value:
            _update(digest, item)
    else:
        digest.update(f"{json.dumps(value)} ".encode())

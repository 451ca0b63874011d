"""Run the encoder on batches of rows, on all processes at the same time.

One process, the leader, asks for hidden states, and all other processes help it: each computes the hidden states of one
batch at a time, and sends them to the leader. With --shard, no process could run the encoder alone, because each layer
gathers its parameters from all processes.
"""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple

import torch
from accelerate.utils import broadcast_object_list
from torch import Tensor

from research.data.batches.order import RowIndices
from research.features.cache import Layers

if TYPE_CHECKING:
    from research.training.run import TrainingRun

LayerStates = tuple[Tensor, ...]
"""The hidden states of a batch: one tensor per layer, without padding, [tokens, hidden]."""


class Request(NamedTuple):
    """The hidden states for which a leader asks."""

    split: str
    """train, validation or test."""
    batches: list[RowIndices]
    """The rows of each batch: one batch for the leader, and at most one for each other process."""
    layers: Layers
    """The layers to return."""


def run_encoder_on_all(run: TrainingRun, request: Request) -> list[LayerStates]:
    """Return the hidden states of each batch. All other processes must be in `help_leader`.

    If several processes compute, only the first batch is not in the memory of the CPU.
    """
    accelerator = run.accelerator
    broadcast_object_list([request], from_process=accelerator.process_index)
    own = _run_encoder(run, request, 0)
    results = [own]
    for index in range(1, len(request.batches)):
        helper = (accelerator.process_index + index) % accelerator.num_processes
        results.append(_receive(own, helper))
    return results


def dismiss_helpers(run: TrainingRun) -> None:
    """Let all other processes return from `help_leader`; called by the leader."""
    broadcast_object_list([None], from_process=run.accelerator.process_index)


def help_leader(run: TrainingRun, leader: int) -> None:
    """Compute hidden states for the leader, until it needs no more.

    Args:
        run: the run.
        leader: index of the process that calls `run_encoder_on_all`.
    """
    accelerator = run.accelerator
    index = (accelerator.process_index - leader) % accelerator.num_processes
    while True:
        requests: list[Request | None] = [None]
        broadcast_object_list(requests, from_process=leader)
        (request,) = requests
        if request is None:
            return
        states = _run_encoder(run, request, index)
        if index < len(request.batches):
            _send(states, leader)


def _send(states: LayerStates, receiver: int) -> None:
    torch.distributed.send(torch.tensor([len(states[0])], device=states[0].device), receiver)
    for layer in states:
        torch.distributed.send(layer.contiguous(), receiver)


def _receive(like: LayerStates, sender: int) -> LayerStates:
    """Receive the hidden states of a batch, and return them in the memory of the CPU.

    Args:
        like: hidden states with another number of tokens.
        sender: index of the process that calls `_send`.
    """
    num_tokens = torch.zeros(1, dtype=torch.int64, device=like[0].device)
    torch.distributed.recv(num_tokens, sender)
    received = []
    for layer in like:
        states = layer.new_empty(int(num_tokens), *layer.shape[1:])
        torch.distributed.recv(states, sender)
        received.append(states.cpu())
    return tuple(received)


@torch.no_grad()
def _run_encoder(run: TrainingRun, request: Request, index: int) -> LayerStates:
    """Return the hidden states of a batch, without dropout. Batches that do not exist are replaced by the last one.

    With --shard, every process must run the encoder the same number of times.
    """
    model = run.encoder_with_head
    rows = request.batches[min(index, len(request.batches) - 1)]
    run.batches.heap_trimmer.count_batch()
    batch = run.collator(getattr(run.splits, request.split)[rows]).to(run.accelerator.device)
    was_training = model.encoder.training
    model.encoder.eval()
    with run.accelerator.autocast(), _without_compilation(run):
        states = model.run_encoder(**batch.inputs, all_layers=request.layers == "all")
    model.encoder.train(was_training)
    mask = batch.inputs["attention_mask"].bool()
    return tuple(layer[mask] for layer in (states if isinstance(states, tuple) else (states,)))


def _without_compilation(run: TrainingRun) -> AbstractContextManager[object]:
    """Return a context in which layers run uncompiled, so that hidden states do not depend on --compile.

    Without --shard, the model is compiled as a whole, and running only the encoder uses no compiled code anyway.
    """
    return torch.compiler.set_stance("force_eager") if run.wrapping.is_compiled else contextlib.nullcontext()

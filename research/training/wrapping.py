"""Wrap the model for training (mixed precision, compilation, and DDP if there are several processes) and its optimizer.

All code that creates wrappers, or recreates them after edits, is here.
"""

from __future__ import annotations

import contextlib
import functools
import operator
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from research.model.encoder_with_head import EncoderWithHead
from research.model.parameters import trainable_parameters


@dataclass(frozen=True)
class Wrapped:
    """A wrapped model, and the trainable parameters for which the wrappers were created."""

    module: nn.Module
    """The outermost wrapper, or the model itself."""
    trainable: tuple[nn.Parameter, ...]
    """Parameters that were trainable when the wrappers were created. DDP and the compiled code handle only these."""
    compile_backend: str | None = None
    """Backend of torch.compile; None if the model is not compiled."""

    @property
    def is_compiled(self) -> bool:
        """Whether the model is compiled."""
        return self.compile_backend is not None

    @functools.cached_property
    def num_trainable(self) -> int:
        """Number of trainable parameters."""
        return sum(parameter.numel() for parameter in self.trainable)

    def fits(self, model: nn.Module) -> bool:
        """Return whether the same parameters, in the same order, are trainable as when the wrappers were created."""
        now = trainable_parameters(model)
        return len(now) == len(self.trainable) and all(map(operator.is_, now, self.trainable))


def wrap(accelerator: Accelerator, model: EncoderWithHead, compile_backend: str | None) -> Wrapped:
    """Return a model wrapped for training.

    Args:
        accelerator: determines device, precision and processes.
        model: the bare model.
        compile_backend: backend of torch.compile; None does not compile the model.
    """
    if compile_backend is not None:
        model.compile(backend=compile_backend)
    with _mute_buffer_warning():
        module = accelerator.prepare_model(model)
    return Wrapped(module, trainable_parameters(model), compile_backend)


def rewrap(accelerator: Accelerator, wrapped: Wrapped, model: EncoderWithHead) -> Wrapped:
    """Return the model in new wrappers that match its current trainable parameters.

    DDP registers only the parameters that are trainable when it is created, and dynamo's guards do not notice later
    changes (https://github.com/pytorch/pytorch/issues/139476), so the DDP wrapper and the compiled code are created
    again. DDP does not broadcast the weights of the first process (init_sync=False), since this would hide differences
    between the processes.
    """
    if wrapped.compile_backend is not None:
        torch._dynamo.reset()
        model.compile(backend=wrapped.compile_backend)
    module: nn.Module = model
    old = wrapped.module
    if accelerator.num_processes > 1:
        # DDP is added even if the old model has no wrapper: accelerate wraps no model without trainable parameters.
        ids = [accelerator.local_process_index] if accelerator.device.type == "cuda" else None
        settings = accelerator.ddp_handler.to_kwargs() if accelerator.ddp_handler is not None else {}
        with _mute_buffer_warning():
            module = DistributedDataParallel(model, device_ids=ids, init_sync=False, **settings)
    accelerator._models[:] = [module if each is old else each for each in accelerator._models]
    return Wrapped(module, trainable_parameters(model), wrapped.compile_backend)


def rewrap_optimizer(accelerator: Accelerator, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Return a run's new optimizer in accelerate's wrapper. Accelerate's reference to the old optimizer is dropped."""
    accelerator._optimizers.clear()
    wrapped: torch.optim.Optimizer = accelerator.prepare_optimizer(optimizer)
    return wrapped


@contextlib.contextmanager
def _mute_buffer_warning() -> Iterator[None]:
    """Suppress DDP's warning that broadcast_buffers is deprecated: its replacement exists only since torch 2.13."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
        yield


def reduced_sizes(module: nn.Module) -> tuple[int, int] | None:
    """Return the number of tensors that DDP's reducer averages and their size in bytes; None without DDP."""
    if not isinstance(module, DistributedDataParallel):
        return None
    facts = module._get_ddp_logging_data()
    return int(facts["num_parameter_tensors"]), int(facts["total_parameter_size_bytes"])

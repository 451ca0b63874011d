"""What lies around the model while it trains: mixed precision, compilation, and DDP where there are several processes.

All that makes or remakes a wrapper is here.
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
    """A model as it trains, and for which parameters its wrappers were made."""

    module: nn.Module
    """The outermost wrapper, or the model itself."""
    trainable: tuple[nn.Parameter, ...]
    """Parameters that trained when the wrappers were made: all that DDP's reducer knows, and compiled code."""
    compile_backend: str | None = None
    """torch.compile's backend; None if the model is not compiled."""

    @property
    def is_compiled(self) -> bool:
        """Whether the model is compiled."""
        return self.compile_backend is not None

    @functools.cached_property
    def num_trainable(self) -> int:
        """Numbers that the optimizer moves."""
        return sum(parameter.numel() for parameter in self.trainable)

    def fits(self, model: nn.Module) -> bool:
        """Return whether the same parameters train as when the wrappers were made."""
        now = trainable_parameters(model)
        return len(now) == len(self.trainable) and all(map(operator.is_, now, self.trainable))


def wrap(accelerator: Accelerator, model: EncoderWithHead, compile_backend: str | None) -> Wrapped:
    """Return a model ready to train.

    Args:
        accelerator: decides on device, precision and processes.
        model: the bare model.
        compile_backend: torch.compile's backend; None leaves the model as it is.
    """
    if compile_backend is not None:
        model.compile(backend=compile_backend)
    with _mute_buffer_warning():
        module = accelerator.prepare_model(model)
    return Wrapped(module, trainable_parameters(model), compile_backend)


def rewrap(accelerator: Accelerator, wrapped: Wrapped, model: EncoderWithHead) -> Wrapped:
    """Return the model in wrappers that fit it as it is now.

    DDP takes only the parameters that train when it is made, and dynamo's guards do not see that others do later
    (https://github.com/pytorch/pytorch/issues/139476); so both are made anew. Nothing is broadcast: what is to be equal
    on all processes is compared before, not overwritten.
    """
    if wrapped.compile_backend is not None:
        torch._dynamo.reset()
        model.compile(backend=wrapped.compile_backend)
    module: nn.Module = model
    old = wrapped.module
    if accelerator.num_processes > 1:
        # A model without anything to train was never wrapped.
        ids = [accelerator.local_process_index] if accelerator.device.type == "cuda" else None
        settings = accelerator.ddp_handler.to_kwargs() if accelerator.ddp_handler is not None else {}
        with _mute_buffer_warning():
            module = DistributedDataParallel(model, device_ids=ids, init_sync=False, **settings)
    accelerator._models[:] = [module if each is old else each for each in accelerator._models]
    return Wrapped(module, trainable_parameters(model), wrapped.compile_backend)


@contextlib.contextmanager
def _mute_buffer_warning() -> Iterator[None]:
    """Hold back DDP's advice to write broadcast_buffers otherwise: what it advises came with torch 2.13."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
        yield


def reduced_sizes(module: nn.Module) -> tuple[int, int] | None:
    """Return how many tensors DDP's reducer averages, and their bytes; None where there is no DDP."""
    if not isinstance(module, DistributedDataParallel):
        return None
    facts = module._get_ddp_logging_data()
    return int(facts["num_parameter_tensors"]), int(facts["total_parameter_size_bytes"])

"""The interface of all ways to distribute a model over processes."""

from __future__ import annotations

import functools
import operator
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from research.edits.base import Touches
from research.model.encoder_with_head import EncoderWithHead
from research.model.parameters import trainable_parameters
from research.model.wrapped import Wrapped


def prepare_optimizer(accelerator: Accelerator, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Return a run's new optimizer in accelerate's wrapper. Accelerate's reference to an old optimizer is dropped."""
    accelerator._optimizers.clear()
    wrapped: torch.optim.Optimizer = accelerator.prepare_optimizer(optimizer)
    return wrapped


class Wrapping(Wrapped, ABC):
    """A model in its wrappers.

    All methods are called on every process, since they may communicate.

    Args:
        accelerator: determines device, precision and processes.
        model: the bare model.
        compile_backend: backend of torch.compile; None does not compile the model.
    """

    def __init__(self, accelerator: Accelerator, model: EncoderWithHead, compile_backend: str | None = None) -> None:
        self.accelerator = accelerator
        self.model = model
        self.compile_backend = compile_backend
        # Autocast and the device. Its evaluation mode adds no wrapper for training.
        accelerator.prepare_model(model, evaluation_mode=True)
        self._set_trainable()

    @property
    @abstractmethod
    def module(self) -> nn.Module:
        """The outermost wrapper, or the model itself."""

    @property
    def num_shards(self) -> int:
        """Number of parts of each split parameter; 1 if every process holds whole parameters.

        The process of rank r holds part r modulo `num_shards`.
        """
        return 1

    @property
    def is_compiled(self) -> bool:
        """Whether the model is compiled."""
        return self.compile_backend is not None

    @functools.cached_property
    def num_trainable(self) -> int:
        """Number of trainable parameters."""
        return sum(parameter.numel() for parameter in self.trainable)

    def fits(self) -> bool:
        """Return whether the same parameters, in the same order, are trainable as when the wrappers were created."""
        now = trainable_parameters(self.model)
        return len(now) == len(self.trainable) and all(map(operator.is_, now, self.trainable))

    def differing_parameters(self) -> list[str]:
        """Return the names of parameters that train now but did not when the wrappers were created, or the reverse."""
        then = set(self.trainable)
        names = [
            name for name, parameter in self.model.named_parameters() if parameter.requires_grad != (parameter in then)
        ]
        num_removed = len(then - set(self.model.parameters()))
        return [*names, *([f"{num_removed} removed from the model"] if num_removed else [])]

    @abstractmethod
    def wrap(self, optimizer: torch.optim.Optimizer) -> None:
        """Complete the wrappers for the model as it is, before the first step.

        If `begin_edits` was called before, this ends the edits.
        """

    @abstractmethod
    def for_evaluation(self, folder: Path) -> Wrapping:
        """Load a saved model, which does not train, and return it in wrappers of the same kind."""

    @abstractmethod
    def begin_edits(self, touches: Touches, optimizer: torch.optim.Optimizer) -> None:
        """Prepare model and optimizer for edits: every process can change whole parameters in the same way.

        Args:
            touches: what the edits change.
            optimizer: the optimizer, which keeps its state.
        """

    @abstractmethod
    def end_edits(self, touches: Touches, optimizer: torch.optim.Optimizer) -> Mapping[nn.Parameter, nn.Parameter]:
        """Adapt the wrappers to the edited model.

        Args:
            touches: what the edits have changed.
            optimizer: the run's optimizer after the edits.
        Returns:
            The parameters that were replaced by others of the same value, and the new ones.
        """

    def explain(self, error: RuntimeError) -> str | None:
        """Return what the user should change in an edit that has raised an error; None if it is not known."""
        return None

    def held(self, tensor: Tensor) -> Tensor:
        """Return the tensor with the values of a parameter, which may have none during edits of modules."""
        return tensor

    @abstractmethod
    def synchronizing(self, *, is_last: bool) -> AbstractContextManager[None]:
        """Return a context for the backward pass of a micro-batch.

        Gradients are averaged over the processes only in the last micro-batch of a step.
        """

    def gradient_norm(self) -> Tensor:
        """Return the norm of the gradient of the whole model, []."""
        return torch.nn.utils.get_total_norm(self._gradients())

    def clip_gradients(self, norm: Tensor, max_norm: float) -> None:
        """Scale the gradient down to a maximum norm, if its norm is larger.

        Args:
            norm: the result of `gradient_norm`.
            max_norm: the maximum norm.
        """
        parameters = [parameter for parameter in self.model.parameters() if parameter.grad is not None]
        torch.nn.utils.clip_grads_with_norm_(parameters, max_norm, norm)

    def _gradients(self) -> list[Tensor]:
        return [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]

    @abstractmethod
    def restore_parameters(self) -> None:
        """Make the model's modules hold the parameters that train, after a forward pass without a backward pass."""

    @abstractmethod
    def check(self, optimizer: torch.optim.Optimizer) -> None:
        """Check that exactly the gradients of the parameters that train are averaged over the processes.

        Raises:
            AuditError: if not; names the parameters.
        """

    def _set_trainable(self) -> None:
        self.trainable = trainable_parameters(self.model)
        """Parameters that were trainable when the wrappers were created, which handle only these."""
        vars(self).pop("num_trainable", None)

"""The registry of optimizers, and their interface: how a run creates an optimizer and what it must know about it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import torch
from torch import nn

from heads.registry import Registry
from research.learning.schedules import Schedule
from research.system.packages import Package

ParameterGroups = list[dict[str, Any]]
"""Parameter groups with the keys `params`, `lr`, `base_lr`, `block`, `decays`, `part` and `weight_decay`."""


class OptimizerKind:
    """Base class of all optimizers: creates the optimizer of a run from its parameter groups.

    The keyword-only parameters of a subclass's `__init__` are the optimizer's options. An object of this class has no
    state: the state of a run is in the optimizer that `create` returns.
    """

    package: ClassVar[Package | None] = None
    """Package that must be installed in addition to Midway's own dependencies; None if there is none."""
    has_momentum: ClassVar[bool] = True
    """Whether groups have the key `betas` or `momentum`, so that a schedule can change the momentum."""
    parts: ClassVar[tuple[str, ...]] = ("all",)
    """Names of the parts of the optimizer, each with its own update rule. Vectors belong to the last part."""

    is_elementwise: ClassVar[bool] = False
    """Whether the update of a number depends only on this number, its gradient and its state, and state tensors have
    the shape of their parameter or are numbers. Then each process can update its parts of split parameters (`--shard`);
    otherwise, whole parameters are gathered for the update, which is slower."""

    def create(self, groups: ParameterGroups) -> torch.optim.Optimizer:
        """Return the optimizer.

        It must keep the given groups with all of their keys in its `param_groups`, read `lr` and `weight_decay` from
        them in every step, skip parameters whose gradient is None, and count steps per parameter, since parameters may
        join later. Its `state_dict` may contain only numbers, strings, lists, dicts and tensors.

        Args:
            groups: parameter groups, which may be empty. Their parameters may have no values (torch's `meta` device).
        Raises:
            ValueError: if the optimizer does not support the device of the parameters.
        """
        raise NotImplementedError

    def assign_parts(self, block: str, matrices: Sequence[nn.Parameter]) -> list[str]:
        """Return for each matrix of a block the name of the part that updates it.

        Args:
            block: name of the block: `embeddings`, `layer.0`, ..., `rest` or `head`.
            matrices: the block's parameters with two or more dimensions, in the order of the model.
        """
        return [self.parts[-1]] * len(matrices)

    @classmethod
    def registered_name(cls) -> str:
        """Return the name under which the class is registered."""
        name = OPTIMIZERS.name_of(cls)
        assert name is not None, f"{cls.__name__} is not registered"
        return name

    @classmethod
    def check_installed(cls) -> None:
        """Check that the optimizer's package is installed.

        Raises:
            ValueError: if it is not; the message contains the command that installs it.
        """
        if cls.package is not None:
            cls.package.check_installed(f"optimizer '{cls.registered_name()}'")

    def check_schedule(self, schedule: Schedule) -> None:
        """Check that the optimizer works with a schedule.

        Raises:
            ValueError: if it does not.
        """
        if schedule.momentum is not None and not self.has_momentum:
            raise ValueError(
                f"The schedule '{schedule.name}' changes the momentum (cycle_momentum), and the optimizer "
                f"'{self.registered_name()}' has no momentum that may change during a run. Omit cycle_momentum, or "
                "choose another --optimizer."
            )

    def evaluation_weights(self, optimizer: torch.optim.Optimizer) -> AbstractContextManager[None]:
        """Return a context in which the model has the weights that are evaluated and saved.

        Afterwards, the model has the bits of the training weights again. By default, both are the same weights.
        Contexts may be nested. After `load_evaluation_weights`, the context changes nothing.
        """
        return nullcontext()

    def load_evaluation_weights(self, optimizer: torch.optim.Optimizer) -> None:
        """Give the model the weights that are evaluated and saved, for good: this optimizer takes no more steps."""


OPTIMIZERS: Registry[type[OptimizerKind]] = Registry(
    "optimizer", OptimizerKind, built_in="research.learning.optimizers"
)
register_optimizer = OPTIMIZERS.register

"""AdamW without a decaying learning rate: the average of the weights takes the place of the decay."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from heads.checks import require_probability
from research.learning.optimizers.base import OptimizerKind, ParameterGroups, register_optimizer
from research.learning.schedules import Schedule
from research.system.packages import Package


@register_optimizer("schedule_free_adamw")
class ScheduleFreeAdamW(OptimizerKind):
    """AdamW that averages the weights instead of lowering the learning rate.

    The model is evaluated, tested and saved with the averaged weights. It trains with a mixture of them and the latest
    weights. A schedule that lowers the rate is refused: use `--schedule constant`, whose warm-up applies. A schedule
    cannot change beta1 (`cycle_momentum`), because the average depends on it. Needs the `schedule_free` extra.

    Source: Defazio et al. 2024, The Road Less Scheduled; the package schedulefree. Its authors advise an lr of 1 to 10
    times that of AdamW with a schedule. Differs: steps are counted for each parameter, not for each group, so that the
    average and the bias correction of a parameter start when it starts to train.

    Args:
        beta1: weight of the averaged weights in the weights that train, above 0.
        beta2: decay rate of the average of squared gradients.
        eps: number added to the denominator.
        r: exponent of the step in the weights of the average; 0 weights all steps equally.
        weight_lr_power: exponent of the largest learning rate so far in the weights of the average.
    """

    package = Package("schedulefree", extra="schedule_free")
    has_momentum = False
    is_elementwise = True

    def __init__(
        self,
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        r: float = 0.0,
        weight_lr_power: float = 2.0,
    ) -> None:
        require_probability(beta1=beta1, beta2=beta2)
        if beta1 == 0:
            raise ValueError("Expected beta1 above 0; got 0.")
        if eps < 0:
            raise ValueError(f"Expected eps of 0 or more; got {eps}.")
        if r < 0 or weight_lr_power < 0:
            raise ValueError(f"Expected r and weight_lr_power of 0 or more; got {r} and {weight_lr_power}.")
        self.betas = (beta1, beta2)
        self.options: dict[str, float] = {"eps": eps, "r": r, "weight_lr_power": weight_lr_power}

    def create(self, groups: ParameterGroups) -> torch.optim.Optimizer:
        """Return schedulefree's AdamWScheduleFree, in training mode, with step counts for each parameter."""
        from research.learning.optimizers.schedule_free_counts import AdamWWithCounts

        optimizer: torch.optim.Optimizer = AdamWWithCounts(groups, betas=self.betas, **self.options)
        for group in optimizer.param_groups:
            group["train_mode"] = True  # as after optimizer.train(), which would change no weights yet
        return optimizer

    def check_schedule(self, schedule: Schedule) -> None:
        """Check that the schedule lowers neither the rate nor changes the momentum.

        Raises:
            ValueError: if it does.
        """
        super().check_schedule(schedule)
        if schedule.lowers_rate:
            raise ValueError(
                f"The optimizer '{self.registered_name()}' averages the weights instead of lowering the learning rate, "
                f"and the schedule '{schedule.name}' lowers it. Pass --schedule constant."
            )

    @contextmanager
    def evaluation_weights(self, optimizer: torch.optim.Optimizer) -> Iterator[None]:
        """Return a context in which the model has the averaged weights."""
        if not any(group["train_mode"] for group in optimizer.param_groups):
            yield
            return
        training_weights = {
            parameter: parameter.detach().clone() for parameter, state in optimizer.state.items() if "z" in state
        }
        self.load_evaluation_weights(optimizer)
        try:
            yield
        finally:
            # Computed from the averages, as optimizer.train() does, the training weights would have rounding errors.
            with torch.no_grad():
                for parameter, value in training_weights.items():
                    parameter.copy_(value)
            for group in optimizer.param_groups:
                group["train_mode"] = True

    def load_evaluation_weights(self, optimizer: torch.optim.Optimizer) -> None:
        """Give the model the averaged weights, for good."""
        modal: Any = optimizer
        modal.eval()
        without_state = [parameter for parameter, state in optimizer.state.items() if not state]
        for parameter in without_state:  # eval() adds an empty state for each parameter that has not trained
            del optimizer.state[parameter]

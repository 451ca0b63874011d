"""Learning-rate schedules by name, from torch and Transformers.

A schedule's torch scheduler drives a dummy parameter group with a learning rate of 1. The resulting rate is the factor
by which the base rate of every group is multiplied. This lets edits change base rates during training. On the real
optimizer, OneCycleLR would overwrite such a change at its next step, and LambdaLR would ignore it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, Literal

import torch
import transformers
from torch.optim import SGD, Optimizer
from torch.optim import lr_scheduler as torch_schedules

from heads.registry import Registry
from research.settings.config import Choice, RunConfig
from research.settings.options import errors_attributed_to_entry, resolve_options
from research.settings.registries import STEP_COUNT_PARAMETERS
from research.settings.times import Clock, parse_time
from research.system.user_code import ErrorsAttributedTo, describe_location

SCHEDULES: Registry[Callable[..., Any]] = Registry("schedule")
register_schedule = SCHEDULES.register


class Schedule:
    """The factor by which all base rates are multiplied; it changes over the run.

    Args:
        choice: name and options of a registered schedule.
        num_warmup_steps: number of calls of `step` in which the factor rises.
        num_training_steps: number of calls of `step` in the whole run, one per optimizer step or one per epoch.
    Raises:
        ValueError: if the warm-up is longer than the run, the rate would always be 0, an option is invalid, or the
            registered function does not return a scheduler.
    """

    def __init__(self, choice: Choice, *, num_warmup_steps: int, num_training_steps: int) -> None:
        if num_warmup_steps > num_training_steps:
            raise ValueError(
                f"The warm-up must fit into the run; got a warm-up of {num_warmup_steps} steps in a run of "
                f"{num_training_steps} steps. Lower --warmup."
            )
        options = resolve_options(SCHEDULES, choice, supplied_parameters=STEP_COUNT_PARAMETERS)
        self._choice = choice
        self._num_warmup_steps = num_warmup_steps
        self._num_training_steps = num_training_steps
        self._dummy = SGD([torch.zeros(1, requires_grad=True)], lr=1.0, momentum=0.9)
        with errors_attributed_to_entry(SCHEDULES, choice.name):
            self._scheduler = SCHEDULES[choice.name](
                self._dummy, num_warmup_steps=num_warmup_steps, num_training_steps=num_training_steps, **options
            )
        if not callable(getattr(self._scheduler, "step", None)):
            raise ValueError(
                f"Expected the schedule '{choice.name}' to return one of torch's learning-rate schedulers; got "
                f"{type(self._scheduler).__name__}{describe_location(SCHEDULES[choice.name])}."
            )
        self._attribute_errors = ErrorsAttributedTo(f"schedule '{choice.name}'")
        if num_training_steps == 1 and self.factor == 0:
            raise ValueError(
                f"The schedule '{choice.name}' would keep the rate at 0, because it has only one step. Lower --warmup, "
                "train longer, or choose another --schedule or --schedule_interval."
            )
        self._dummy.step()  # prevents a warning at the scheduler's first step; has no effect, as there is no gradient
        self._num_steps = 0
        self._metrics: list[float | None] = []  # validation losses; None for each call of forget_metrics

    @property
    def name(self) -> str:
        """Registered name of the schedule."""
        return self._choice.name

    @functools.cached_property
    def lowers_rate(self) -> bool:
        """Whether the factor falls in any step of the run, or may fall because it depends on the validation loss."""
        if self.follows_validation_loss:
            return True
        # From the first step on: the answer must not depend on the step at which a resumed run asks for it.
        schedule = Schedule(
            self._choice, num_warmup_steps=self._num_warmup_steps, num_training_steps=self._num_training_steps
        )
        factor = schedule.factor
        for _ in range(self._num_training_steps):
            schedule.step()
            if schedule.factor < factor:
                return True
            factor = schedule.factor
        return False

    @property
    def follows_validation_loss(self) -> bool:
        """Whether the factor depends on the validation loss instead of the step."""
        return isinstance(self._scheduler, torch_schedules.ReduceLROnPlateau)

    @property
    def factor(self) -> float:
        """The factor by which the base rates are currently multiplied."""
        return float(self._dummy.param_groups[0]["lr"])

    @property
    def momentum(self) -> float | None:
        """Momentum (Adam's first beta) of all groups; None if it is not scheduled."""
        is_scheduled = isinstance(self._scheduler, torch_schedules.OneCycleLR) and self._scheduler.cycle_momentum
        return float(self._dummy.param_groups[0]["momentum"]) if is_scheduled else None

    def step(self) -> None:
        """Advance by one step; after the last one, the factor no longer changes."""
        self._num_steps += 1
        if not self.follows_validation_loss and self._num_steps < self._num_training_steps:
            with self._attribute_errors:
                self._scheduler.step()

    def step_on_metric(self, value: float) -> None:
        """Pass the validation loss to a schedule that follows it."""
        assert self.follows_validation_loss
        self._metrics.append(value)
        self._scheduler.step(value)

    def forget_metrics(self) -> None:
        """Forget all validation losses, because later ones are not comparable; only schedules that use them change."""
        if isinstance(self._scheduler, torch_schedules.ReduceLROnPlateau):
            self._metrics.append(None)
            self._scheduler.best = math.inf
            self._scheduler.num_bad_epochs = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the number of steps and the validation losses, with which `load_state_dict` repeats all calls."""
        return {"num_steps": self._num_steps, "metrics": self._metrics}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Repeat the recorded calls on this new schedule; validation losses only if the schedule uses them."""
        assert self._num_steps == 0
        self._metrics.clear()  # replayed edits may have called forget_metrics
        for _ in range(state["num_steps"]):
            self.step()
        for value in state["metrics"] if self.follows_validation_loss else ():
            if value is None:
                self.forget_metrics()
            else:
                self.step_on_metric(value)


def create_schedule(config: RunConfig, clock: Clock) -> Schedule:
    """Return the schedule at the start of a run; it advances with every step or every epoch.

    Raises:
        ValueError: see `Schedule`.
    """
    num_warmup_steps, num_steps = parse_time(config.warmup).to_steps(clock), clock.total_steps
    if config.schedule_interval == "epoch":
        num_warmup_steps = round(num_warmup_steps / clock.steps_per_epoch)
        num_steps = max(1, round(num_steps / clock.steps_per_epoch))
    choice = Choice.of(config.schedule, "schedule")
    return Schedule(choice, num_warmup_steps=num_warmup_steps, num_training_steps=num_steps)


@register_schedule("one_cycle")
def one_cycle(
    optimizer: Optimizer,
    *,
    num_warmup_steps: int,
    num_training_steps: int,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
    anneal: Literal["cos", "linear"] = "cos",
    cycle_momentum: bool = False,
) -> Any:
    """Rise to the peak during warm-up, then fall to almost 0 at the end.

    Source: Smith & Topin 2018, Super-Convergence; torch's OneCycleLR.

    Args:
        div_factor: ratio of the peak rate to the first rate.
        final_div_factor: ratio of the first rate to the last rate.
        anneal: shape of the rise and the fall.
        cycle_momentum: whether momentum (Adam's first beta) moves between 0.95 and 0.85, opposite to the rate.
    """
    if div_factor <= 0 or final_div_factor <= 0:
        raise ValueError(f"Expected div_factor and final_div_factor above 0; got {div_factor} and {final_div_factor}.")
    # As in the other schedules, the rate reaches its minimum after the last step, not in it.
    total_steps = num_training_steps + 1
    # OneCycleLR peaks one step before pct_start, and divides by zero if that is exactly step 0.
    warmup = (num_warmup_steps + 1 if num_warmup_steps else 1 - 1e-9) / total_steps
    return torch_schedules.OneCycleLR(
        optimizer,
        max_lr=1.0,
        total_steps=total_steps,
        pct_start=warmup,
        div_factor=div_factor,
        final_div_factor=final_div_factor,
        anneal_strategy=anneal,
        cycle_momentum=cycle_momentum,
    )


@register_schedule("linear")
def linear(optimizer: Optimizer, *, num_warmup_steps: int, num_training_steps: int) -> Any:
    """Rise linearly during warm-up, then fall linearly to 0 at the end.

    Source: transformers' get_linear_schedule_with_warmup.
    """
    return transformers.get_linear_schedule_with_warmup(optimizer, num_warmup_steps, num_training_steps)


@register_schedule("cosine")
def cosine(optimizer: Optimizer, *, num_warmup_steps: int, num_training_steps: int, num_cycles: float = 0.5) -> Any:
    """Rise linearly during warm-up, then fall to 0 along a cosine.

    Source: Loshchilov & Hutter 2017, SGDR (without restarts); transformers' get_cosine_schedule_with_warmup.

    Args:
        num_cycles: number of periods of the cosine; with 0.5, the rate falls once.
    """
    return transformers.get_cosine_schedule_with_warmup(optimizer, num_warmup_steps, num_training_steps, num_cycles)


@register_schedule("polynomial")
def polynomial(
    optimizer: Optimizer, *, num_warmup_steps: int, num_training_steps: int, power: float = 2.0, end: float = 0.0
) -> Any:
    """Rise linearly during warm-up, then fall with a power of the remaining steps.

    Source: transformers' get_polynomial_decay_schedule_with_warmup.

    Args:
        power: exponent; 1 is linear.
        end: ratio of the last rate to the peak rate.
    """
    if not 0 <= end < 1:
        raise ValueError(f"Expected end to be at least 0 and less than 1; got {end}.")
    return transformers.get_polynomial_decay_schedule_with_warmup(
        optimizer, num_warmup_steps, num_training_steps, lr_end=end, power=power
    )


@register_schedule("constant")
def constant(optimizer: Optimizer, *, num_warmup_steps: int, num_training_steps: int) -> Any:
    """Rise linearly during warm-up, then stay constant.

    Source: transformers' get_constant_schedule_with_warmup.
    """
    return transformers.get_constant_schedule_with_warmup(optimizer, num_warmup_steps)


@register_schedule("inverse_sqrt")
def inverse_sqrt(optimizer: Optimizer, *, num_warmup_steps: int, num_training_steps: int) -> Any:
    """Rise linearly during warm-up, then fall with the inverse square root of the step.

    Source: Vaswani et al. 2017, Attention Is All You Need, section 5.3; transformers' get_inverse_sqrt_schedule.
    """
    return transformers.get_inverse_sqrt_schedule(optimizer, num_warmup_steps)


@register_schedule("triangular")
def triangular(optimizer: Optimizer, *, num_warmup_steps: int, num_training_steps: int) -> Any:
    """Rise linearly from 0 during warm-up (at least one step), then fall linearly to 0 at the end.

    Source: Howard & Ruder 2018, ULMFiT, section 3.2 (slanted triangular); torch's CyclicLR.
    """
    num_steps_up = max(num_warmup_steps, 1)
    return torch_schedules.CyclicLR(
        optimizer,
        base_lr=0.0,
        max_lr=1.0,
        step_size_up=num_steps_up,
        step_size_down=max(num_training_steps - num_steps_up, 1),
        cycle_momentum=False,
    )


@register_schedule("warmup_stable_decay")
def warmup_stable_decay(
    optimizer: Optimizer, *, num_warmup_steps: int, num_training_steps: int, decay: float = 0.2
) -> Any:
    """Rise linearly during warm-up, stay constant, and fall to 0 in the last part of the run.

    Source: Hu et al. 2024, MiniCPM, section 4; transformers' get_wsd_schedule.

    Args:
        decay: share of the run in which the rate falls.
    """
    if not 0 <= decay <= 1:
        raise ValueError(f"Expected decay to be from 0 to 1; got {decay}.")
    num_decay_steps = min(round(decay * num_training_steps), num_training_steps - num_warmup_steps)
    return transformers.get_wsd_schedule(
        optimizer, num_warmup_steps, num_decay_steps, num_training_steps=num_training_steps
    )


@register_schedule("plateau")
def plateau(
    optimizer: Optimizer,
    *,
    num_warmup_steps: int,
    num_training_steps: int,
    factor: float = 0.5,
    patience: int = 1,
) -> Any:
    """Stay constant until the validation loss stops falling, then lower the rate; there is no warm-up.

    Source: torch's ReduceLROnPlateau.

    Args:
        factor: factor by which the rate is multiplied when it is lowered.
        patience: number of consecutive evaluations without improvement that do not yet lower the rate.
    """
    if not 0 < factor < 1 or patience < 0:
        raise ValueError(f"Expected factor between 0 and 1 and patience of 0 or more; got {factor} and {patience}.")
    return torch_schedules.ReduceLROnPlateau(optimizer, factor=factor, patience=patience)

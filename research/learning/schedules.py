"""Learning-rate schedules by name, from torch and transformers.

The library's scheduler drives one dummy group whose rate is 1; what it makes of that rate is the factor by which every
group's own base rate is multiplied. So groups may change their base rates in mid-run, which a OneCycleLR on the real
optimizer would overwrite at its next step, and LambdaLR would not follow at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
import transformers
from torch.optim import SGD, Optimizer
from torch.optim import lr_scheduler as torch_schedules

from heads.registry import Registry
from research.settings.config import Choice, RunConfig
from research.settings.options import constructing, resolve_options
from research.settings.registries import GIVEN_BY_CALLER
from research.settings.times import Clock, parse_time
from research.system.user_code import CodeOf, describe_location

SCHEDULES: Registry[Callable[..., Any]] = Registry("schedule")
register_schedule = SCHEDULES.register


class Schedule:
    """A factor on all base learning rates that changes from step to step.

    Args:
        choice: name and options of a registered schedule.
        num_warmup_steps: steps in which the factor rises.
        num_training_steps: steps of the whole run.
    Raises:
        ValueError: if the warm-up is longer than the run, the rate would always be 0, or an option is wrong.
    """

    def __init__(self, choice: Choice, *, num_warmup_steps: int, num_training_steps: int) -> None:
        if num_warmup_steps > num_training_steps:
            raise ValueError(
                f"The warm-up must fit into the run: got {num_warmup_steps} of {num_training_steps} steps. "
                "Lower --warmup."
            )
        options = resolve_options(SCHEDULES, choice, given_by_caller=GIVEN_BY_CALLER)
        self._num_training_steps = num_training_steps
        self._dummy = SGD([torch.zeros(1, requires_grad=True)], lr=1.0, momentum=0.9)
        with constructing(SCHEDULES, choice.name):
            self._scheduler = SCHEDULES[choice.name](
                self._dummy, num_warmup_steps=num_warmup_steps, num_training_steps=num_training_steps, **options
            )
        if not callable(getattr(self._scheduler, "step", None)):
            raise ValueError(
                f"Expected one of torch's learning-rate schedulers from the schedule '{choice.name}', got "
                f"{type(self._scheduler).__name__}{describe_location(SCHEDULES[choice.name])}."
            )
        self._code = CodeOf(f"schedule '{choice.name}'")
        if num_training_steps == 1 and self.factor == 0:
            raise ValueError(
                f"The schedule '{choice.name}' would keep the learning rate at 0: it moves only once. Lower --warmup, "
                "train longer, or choose another --schedule or --schedule_interval."
            )
        self._dummy.step()  # schedulers warn where they step first; without a gradient nothing moves
        self._num_steps = 0
        self._metrics: list[float | None] = []

    @property
    def is_conditional(self) -> bool:
        """Whether the factor follows the validation loss instead of the step."""
        return isinstance(self._scheduler, torch_schedules.ReduceLROnPlateau)

    @property
    def factor(self) -> float:
        """What base learning rates are multiplied with."""
        return float(self._dummy.param_groups[0]["lr"])

    @property
    def momentum(self) -> float | None:
        """The momentum (Adam's first beta) of all groups, or None if it does not move."""
        moves = isinstance(self._scheduler, torch_schedules.OneCycleLR) and self._scheduler.cycle_momentum
        return float(self._dummy.param_groups[0]["momentum"]) if moves else None

    def step(self) -> None:
        """Go on to the next step; after the last one the factor stays as it is."""
        self._num_steps += 1
        if not self.is_conditional and self._num_steps < self._num_training_steps:
            with self._code:
                self._scheduler.step()

    def step_on_metric(self, value: float) -> None:
        """Tell a conditional schedule the validation loss."""
        assert self.is_conditional
        self._metrics.append(value)
        self._scheduler.step(value)

    def forget_metrics(self) -> None:
        """Let a conditional schedule begin anew: losses so far do not compare with those to come."""
        if isinstance(self._scheduler, torch_schedules.ReduceLROnPlateau):
            self._metrics.append(None)
            self._scheduler.best = math.inf
            self._scheduler.num_bad_epochs = 0

    def state_dict(self) -> dict[str, Any]:
        """Return what was asked of the schedule; doing it again gives the same factor."""
        return {"num_steps": self._num_steps, "metrics": self._metrics}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Bring a new schedule to where another one was; one that follows no metric needs none of its metrics."""
        assert self._num_steps == 0
        self._metrics.clear()  # of edits that were done again
        for _ in range(state["num_steps"]):
            self.step()
        for value in state["metrics"] if self.is_conditional else ():
            if value is None:
                self.forget_metrics()
            else:
                self.step_on_metric(value)


def create_schedule(config: RunConfig, clock: Clock) -> Schedule:
    """Return the schedule of a run at its beginning; it moves after every step or every epoch.

    Raises:
        ValueError: as `Schedule`.
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
    """Rise to the peak during warm-up, fall to almost nothing at the end.

    Source: Smith & Topin 2018, Super-Convergence; torch's OneCycleLR.

    Args:
        div_factor: peak rate over first rate.
        final_div_factor: first rate over last rate.
        anneal: shape of rise and fall.
        cycle_momentum: whether momentum (Adam's first beta) moves from 0.95 to 0.85 and back against the rate.
    """
    if div_factor <= 0 or final_div_factor <= 0:
        raise ValueError(f"Expected div_factor and final_div_factor above 0, got {div_factor} and {final_div_factor}.")
    # As in the other schedules the rate is at its lowest after the last step, not in it.
    total_steps = num_training_steps + 1
    # OneCycleLR peaks one step before pct_start, and divides by zero where that is step 0 itself.
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
    """Rise linearly during warm-up, fall linearly to 0 at the end.

    Source: transformers' get_linear_schedule_with_warmup.
    """
    return transformers.get_linear_schedule_with_warmup(optimizer, num_warmup_steps, num_training_steps)


@register_schedule("cosine")
def cosine(optimizer: Optimizer, *, num_warmup_steps: int, num_training_steps: int, num_cycles: float = 0.5) -> Any:
    """Rise linearly during warm-up, fall to 0 like a cosine.

    Source: Loshchilov & Hutter 2017, SGDR (without restarts); transformers' get_cosine_schedule_with_warmup.

    Args:
        num_cycles: waves of the cosine; one half falls once.
    """
    return transformers.get_cosine_schedule_with_warmup(optimizer, num_warmup_steps, num_training_steps, num_cycles)


@register_schedule("polynomial")
def polynomial(
    optimizer: Optimizer, *, num_warmup_steps: int, num_training_steps: int, power: float = 2.0, end: float = 0.0
) -> Any:
    """Rise linearly during warm-up, fall like a power of the steps that are left.

    Source: transformers' get_polynomial_decay_schedule_with_warmup.

    Args:
        power: exponent; 1 is linear.
        end: last rate over peak rate.
    """
    if not 0 <= end < 1:
        raise ValueError(f"Expected end from 0 to below 1, got {end}.")
    return transformers.get_polynomial_decay_schedule_with_warmup(
        optimizer, num_warmup_steps, num_training_steps, lr_end=end, power=power
    )


@register_schedule("constant")
def constant(optimizer: Optimizer, *, num_warmup_steps: int, num_training_steps: int) -> Any:
    """Rise linearly during warm-up, then stay.

    Source: transformers' get_constant_schedule_with_warmup.
    """
    return transformers.get_constant_schedule_with_warmup(optimizer, num_warmup_steps)


@register_schedule("inverse_sqrt")
def inverse_sqrt(optimizer: Optimizer, *, num_warmup_steps: int, num_training_steps: int) -> Any:
    """Rise linearly during warm-up, fall like one over the root of the steps.

    Source: Vaswani et al. 2017, Attention Is All You Need, section 5.3; transformers' get_inverse_sqrt_schedule.
    """
    return transformers.get_inverse_sqrt_schedule(optimizer, num_warmup_steps)


@register_schedule("triangular")
def triangular(optimizer: Optimizer, *, num_warmup_steps: int, num_training_steps: int) -> Any:
    """Rise linearly from 0 during warm-up (of one step at least), fall linearly to 0 at the end: one triangle.

    Source: Howard & Ruder 2018, ULMFiT, section 3.2 (slanted triangular); torch's CyclicLR.
    """
    up = max(num_warmup_steps, 1)
    return torch_schedules.CyclicLR(
        optimizer,
        base_lr=0.0,
        max_lr=1.0,
        step_size_up=up,
        step_size_down=max(num_training_steps - up, 1),
        cycle_momentum=False,
    )


@register_schedule("warmup_stable_decay")
def warmup_stable_decay(
    optimizer: Optimizer, *, num_warmup_steps: int, num_training_steps: int, decay: float = 0.2
) -> Any:
    """Rise linearly during warm-up, stay, and fall to 0 in the last part of the run.

    Source: Hu et al. 2024, MiniCPM, section 4; transformers' get_wsd_schedule.

    Args:
        decay: share of the run in which the rate falls.
    """
    if not 0 <= decay <= 1:
        raise ValueError(f"Expected decay from 0 to 1, got {decay}.")
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
    """Stay until the validation loss no longer falls, then lower the rate; there is no warm-up.

    Source: torch's ReduceLROnPlateau.

    Args:
        factor: what the rate is multiplied with.
        patience: evaluations without improvement before that.
    """
    if not 0 < factor < 1 or patience < 0:
        raise ValueError(f"Expected factor between 0 and 1 and patience of 0 or more, got {factor} and {patience}.")
    return torch_schedules.ReduceLROnPlateau(optimizer, factor=factor, patience=patience)

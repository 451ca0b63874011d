"""Requirements for all schedules, and the curves of some."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch
from torch.optim import SGD, AdamW

from research.learning.optimizer import apply_schedule, create_optimizer
from research.learning.schedules import SCHEDULES, Schedule
from research.settings.config import Choice, RunConfig
from research.settings.options import resolve_options
from research.settings.registries import STEP_COUNT_PARAMETERS
from tests.shipped import shipped_names

INDEPENDENT_OF_METRICS = [name for name in shipped_names(SCHEDULES) if name != "plateau"]
"""Schedules that do not depend on a metric."""


def compute_factors(name: str, warmup: int, total: int, **options: object) -> list[float]:
    """Return the factor of the learning rate for each of `total` steps, of which `warmup` are warmup steps."""
    schedule = Schedule(Choice(name, dict(options)), num_warmup_steps=warmup, num_training_steps=total)
    values = []
    for _ in range(total):
        values.append(schedule.factor)
        schedule.step()
    return values


@pytest.mark.parametrize("name", shipped_names(SCHEDULES))
@pytest.mark.parametrize(
    ("warmup", "total"), [(0, 1), (1, 1), (0, 2), (1, 2), (2, 2), (0, 10), (1, 10), (10, 10), (10, 100)]
)
def test_schedule_factor_is_between_zero_and_one_and_peaks_after_the_warmup(name: str, warmup: int, total: int) -> None:
    # With a single step, some schedules would have no factor above 0.
    if total == 1 and (name == "triangular" or (warmup == 1 and name not in ("one_cycle", "plateau"))):
        with pytest.raises(ValueError, match=f"schedule '{name}' .* 0"):
            compute_factors(name, warmup, total)
        return
    values = compute_factors(name, warmup, total)
    assert all(0 <= factor <= 1 + 1e-12 for factor in values)
    assert max(values) > 0
    if name != "plateau" and warmup < total:
        assert max(values) == pytest.approx(1.0)
        # `triangular` always starts at 0, with a warmup of at least one step.
        assert values.index(max(values)) == (max(warmup, 1) if name == "triangular" else warmup)


def test_one_cycle_of_few_steps_starts_at_its_peak_and_never_reaches_zero() -> None:
    # With --schedule_interval epoch, a schedule has only one step per epoch.
    assert compute_factors("one_cycle", warmup=0, total=1) == pytest.approx([1.0])
    assert compute_factors("one_cycle", warmup=0, total=3) == pytest.approx([1.0, 0.75, 0.25], abs=1e-4)


@pytest.mark.parametrize("name", INDEPENDENT_OF_METRICS)
def test_schedule_has_the_factors_of_its_registered_scheduler(name: str) -> None:
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=1.0, momentum=0.9)
    options = resolve_options(SCHEDULES, Choice(name), supplied_parameters=STEP_COUNT_PARAMETERS)
    scheduler = SCHEDULES[name](optimizer, num_warmup_steps=3, num_training_steps=20, **options)
    expected = []
    for step in range(20):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step < 19:
            scheduler.step()
    assert compute_factors(name, warmup=3, total=20) == expected


@pytest.mark.parametrize("name", INDEPENDENT_OF_METRICS)
def test_schedule_restores_its_state(name: str) -> None:
    uninterrupted = compute_factors(name, warmup=2, total=12)
    interrupted = Schedule(Choice(name), num_warmup_steps=2, num_training_steps=12)
    for _ in range(5):
        interrupted.step()
    resumed = Schedule(Choice(name), num_warmup_steps=2, num_training_steps=12)
    resumed.load_state_dict(json.loads(json.dumps(interrupted.state_dict())))
    remaining = []
    for _ in range(7):
        remaining.append(resumed.factor)
        resumed.step()
    assert remaining == uninterrupted[5:]


def test_schedule_rejects_a_warmup_longer_than_the_run() -> None:
    with pytest.raises(ValueError, match=r"\b11\b.*\b10\b.*--warmup"):
        compute_factors("linear", warmup=11, total=10)


def test_one_cycle_rises_and_falls() -> None:
    values = compute_factors("one_cycle", warmup=4, total=20)
    assert values[0] == pytest.approx(1 / 25)  # the default of div_factor
    assert values[:5] == sorted(values[:5])
    assert values[4:] == sorted(values[4:], reverse=True)
    assert 1 / 25 / 1e4 < values[-1] < 0.02  # the factor would be 1 / 25 / 1e4 one step later


def test_one_cycle_moves_momentum_inversely_to_the_learning_rate() -> None:
    momentum_readers: dict[Literal["sgd", "adamw"], Callable[[dict[str, Any]], float]] = {
        "sgd": lambda group: group["momentum"],
        "adamw": lambda group: group["betas"][0],
    }
    for optimizer_name, read_momentum in momentum_readers.items():
        parameter = torch.nn.Parameter(torch.zeros(2, 2))
        config = RunConfig(optimizer=optimizer_name)
        optimizer = create_optimizer([("head", [("weight", parameter)])], config)
        choice = Choice("one_cycle", {"cycle_momentum": True})
        schedule = Schedule(choice, num_warmup_steps=2, num_training_steps=6)
        momenta = []
        for _ in range(6):
            apply_schedule(optimizer, schedule)
            momenta.append(read_momentum(optimizer.param_groups[0]))
            schedule.step()
        # The momentum falls from 0.95 to 0.85 while the learning rate rises.
        assert momenta[0] == pytest.approx(0.95)
        assert momenta[2] == pytest.approx(0.85)
        assert 0.93 < momenta[-1] < 0.95
        if isinstance(optimizer, AdamW):
            assert optimizer.param_groups[0]["betas"][1] == 0.999


def test_momentum_is_constant_by_default() -> None:
    assert Schedule(Choice("one_cycle"), num_warmup_steps=2, num_training_steps=6).momentum is None


def test_plateau_lowers_the_factor_when_the_validation_loss_stops_improving() -> None:
    schedule = Schedule(Choice("plateau", {"factor": 0.1, "patience": 1}), num_warmup_steps=0, num_training_steps=9)
    assert schedule.follows_validation_loss
    for loss, factor in ((1.0, 1.0), (0.5, 1.0), (0.6, 1.0), (0.6, 0.1), (0.4, 0.1)):
        schedule.step()
        schedule.step_on_metric(loss)
        assert schedule.factor == pytest.approx(factor)
    resumed = Schedule(Choice("plateau", {"factor": 0.1, "patience": 1}), num_warmup_steps=0, num_training_steps=9)
    resumed.load_state_dict(json.loads(json.dumps(schedule.state_dict())))
    assert resumed.factor == schedule.factor
    for instance in (schedule, resumed):
        instance.step_on_metric(0.9)
        instance.step_on_metric(0.9)
    assert resumed.factor == schedule.factor == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("one_cycle", {"div_factor": 0.0}, "div_factor .*final_div_factor .*0"),
        ("polynomial", {"end": 2.0}, "end .*0.*1"),
        ("plateau", {"factor": 2.0}, "factor .*0.*1"),
        ("warmup_stable_decay", {"decay": 1.5}, "decay .*0.*1"),
    ],
)
def test_schedule_rejects_invalid_options(name: str, options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compute_factors(name, warmup=1, total=10, **options)

"""The model is evaluated and saved with averaged weights; training continues with the bits of the training weights."""

from __future__ import annotations

import pytest
import schedulefree
import torch
from torch import Tensor, nn

from research import Hook, RunConfig
from research.learning.optimizer import choose_optimizer, create_optimizer
from research.learning.optimizers.base import OPTIMIZERS
from research.learning.schedules import Schedule
from research.model.encoder_with_head import EncoderWithHead
from research.runner.experiment import finish
from research.settings.config import Choice
from research.training.api import Run
from research.training.loop import train
from tests.research.conftest import StartRun

CONFIG = RunConfig(optimizer="schedule_free_adamw", head_lr=0.1, weight_decay=0.0)


def test_evaluation_weights_are_the_average_of_the_fast_weights() -> None:
    """By hand: with a constant rate, the averaged weights x are the mean of the fast weights z after each step."""
    parameter = nn.Parameter(torch.tensor([[1.0, -2.0]]))
    kind = choose_optimizer(CONFIG)
    optimizer = create_optimizer([("head", [("weight", parameter)])], CONFIG)
    fast_weights = []
    for gradient in ([0.5, 1.0], [-1.0, 2.0], [0.25, 0.5]):
        parameter.grad = torch.tensor([gradient])
        optimizer.step()
        fast_weights.append(optimizer.state[parameter]["z"].clone())
    training_weights = parameter.detach().clone()
    mean = torch.stack(fast_weights).mean(dim=0)
    with kind.evaluation_weights(optimizer), kind.evaluation_weights(optimizer):
        assert torch.allclose(parameter, mean, rtol=1e-6)
    assert torch.equal(parameter, training_weights)
    assert torch.allclose(training_weights, 0.9 * mean + 0.1 * fast_weights[-1], rtol=1e-6)
    kind.load_evaluation_weights(optimizer)
    with kind.evaluation_weights(optimizer):
        pass
    assert torch.allclose(parameter, mean, rtol=1e-6), "after training, the averaged weights stay in the model"


@pytest.mark.parametrize("schedule", ["linear", "cosine", "one_cycle", "inverse_sqrt", "triangular", "plateau"])
def test_schedules_that_lower_the_rate_are_refused(schedule: str) -> None:
    kind = OPTIMIZERS["schedule_free_adamw"]()
    with pytest.raises(ValueError, match=f"schedule_free_adamw.*{schedule}.*--schedule constant"):
        kind.check_schedule(Schedule(Choice(schedule), num_warmup_steps=2, num_training_steps=10))


@pytest.mark.parametrize(("schedule", "decay"), [("constant", None), ("warmup_stable_decay", 0.0)])
def test_schedules_that_only_warm_up_are_accepted(schedule: str, decay: float | None) -> None:
    options = {} if decay is None else {"decay": decay}
    kind = OPTIMIZERS["schedule_free_adamw"]()
    kind.check_schedule(Schedule(Choice(schedule, options), num_warmup_steps=2, num_training_steps=10))


class WeightRecorder(Hook):
    """Record the weights in training and in evaluations."""

    def __init__(self) -> None:
        self.trained: dict[int, Tensor] = {}
        self.evaluated: dict[int, Tensor] = {}

    def after_step(self, run: Run) -> None:
        """Record the weights that train."""
        self.trained[run.clock.step] = weight_of(run)

    def before_evaluate(self, run: Run, split: str) -> None:
        """Record the weights that are evaluated."""
        self.evaluated[run.clock.step] = weight_of(run)

    def end_of_step(self, run: Run) -> None:
        """Check that the evaluation has left no trace."""
        assert torch.equal(weight_of(run), self.trained[run.clock.step])


def weight_of(run: Run) -> Tensor:
    return run.encoder_with_head.get_parameter("head.out.weight").detach().clone()


def test_a_run_evaluates_and_saves_averaged_weights(start_run: StartRun) -> None:
    recorder = WeightRecorder()
    run = start_run(
        [recorder],
        optimizer="schedule_free_adamw",
        schedule="constant",
        warmup="1st",
        evaluate_every="2st",
        max_steps=4,
    )
    train(run)
    finish(run)
    saved = EncoderWithHead.from_pretrained(run.directory / "model").get_parameter("head.out.weight")
    assert torch.equal(saved, recorder.evaluated[4])
    assert torch.equal(saved, weight_of(run))
    assert not torch.equal(recorder.evaluated[4], recorder.trained[4])


def test_evaluations_do_not_change_training(start_run: StartRun) -> None:
    settings = {"optimizer": "schedule_free_adamw", "schedule": "constant", "max_steps": 5}
    often, never = start_run(evaluate_every="1st", **settings), start_run(**settings)
    train(often)
    train(never)
    assert torch.equal(weight_of(often), weight_of(never))


def test_state_of_a_run_equals_that_of_the_package_trained_directly() -> None:
    parameter, reference = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    optimizer = create_optimizer([("head", [("weight", parameter)])], CONFIG)
    direct = schedulefree.AdamWScheduleFree([reference], lr=0.1)
    direct.train()
    for _ in range(5):
        parameter.grad, reference.grad = torch.full((2, 2), 0.5), torch.full((2, 2), 0.5)
        optimizer.step()
        direct.step()
    direct.eval()
    choose_optimizer(CONFIG).load_evaluation_weights(optimizer)
    assert torch.equal(parameter, reference)

"""The training loop computes the loss and the gradient of a step, and refuses non-finite losses."""

from __future__ import annotations

import math

import pytest
import torch

from research import Hook
from research.data.batches.batch import Batch
from research.training.api import Run, StepMetrics
from research.training.loop import train
from research.training.nonfinite import NonFiniteError
from tests.research.conftest import StartRun


def test_train_step_gradient_does_not_depend_on_micro_batches(start_run: StartRun) -> None:
    steps: list[StepMetrics] = []
    for size in (8, 1, 3):
        run = start_run(max_steps=1, optimizer="sgd", lr=1e-9, head_lr=1e-9, micro_batch_size=size)
        train(run)
        assert run.last_step is not None
        steps.append(run.last_step)
    for step in steps[1:]:
        assert step.loss == pytest.approx(steps[0].loss, rel=1e-5)
        assert step.gradient_norm == pytest.approx(steps[0].gradient_norm, rel=1e-4)
    assert (steps[0].num_examples, steps[0].skipped) == (8, False)


def test_train_step_loss_is_the_mean_over_its_rows(start_run: StartRun) -> None:
    losses: list[torch.Tensor] = []

    class RecordLosses(Hook):
        def on_batch(self, run: Run, batch: Batch) -> None:
            with torch.no_grad():
                logits = run.encoder_with_head(**batch.inputs).logits
            losses.append(torch.nn.functional.cross_entropy(logits, batch.labels, reduction="none"))

    run = start_run([RecordLosses()], max_steps=6, micro_batch_size=3)  # the last step of the epoch has 7 rows
    train(run)
    assert run.last_step is not None
    assert run.last_step.num_examples == 7  # in micro-batches of 3, 3 and 1 rows
    assert run.last_step.loss == pytest.approx(float(torch.cat(losses[-3:]).mean()), rel=1e-5)


def test_train_step_clips_gradients_by_their_norm(start_run: StartRun) -> None:
    change_norms: list[float] = []
    gradient_norms: list[float] = []
    for limit in (0.0, 0.01):  # 0 disables clipping
        plain_sgd = {"optimizer": "sgd", "lr": 1.0, "head_lr": 1.0, "layer_decay": 1.0, "weight_decay": 0.0}
        run = start_run(max_steps=1, schedule="constant", warmup="0st", max_grad_norm=limit, **plain_sgd)
        before = [parameter.detach().clone() for parameter in run.model.parameters()]
        train(run)
        assert run.last_step is not None
        pairs = zip(run.model.parameters(), before, strict=True)
        change_norms.append(math.sqrt(sum(float((new - old).detach().square().sum()) for new, old in pairs)))
        gradient_norms.append(run.last_step.gradient_norm)
    # With SGD at learning rate 1, the change of the parameters is the clipped gradient.
    assert change_norms == [pytest.approx(gradient_norms[0], rel=1e-4), pytest.approx(0.01, rel=1e-3)]
    assert gradient_norms[1] == gradient_norms[0]


class Poison(Hook):
    """Makes the loss NaN or infinite from the second step on."""

    def on_batch(self, run: Run, batch: Batch) -> None:
        if run.clock.step == 1:
            run.encoder_with_head.get_parameter("head.out.bias").data.fill_(math.inf)


def test_train_step_names_rows_or_skips_the_update_if_the_loss_is_not_finite(start_run: StartRun) -> None:
    run = start_run([Poison()])
    with pytest.raises(NonFiniteError, match=r"Step 2: .* rows \d+(, \d+){7} .*--on_nonfinite skip"):
        train(run)
    assert run.clock.step == 1
    skipping = start_run([Poison()], on_nonfinite="skip", max_steps=3)
    train(skipping)
    assert (skipping.clock.step, skipping.num_skipped) == (3, 2)

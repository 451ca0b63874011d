"""Steps with a loss spike are skipped, with and without a gradient scaler."""

from __future__ import annotations

import pytest
import torch

from research.data.batches.batch import Batch
from research.hooks.loss_spike_guard import LossSpikeGuard
from research.training.api import Run
from research.training.hook import Hook
from research.training.loop import train
from tests.research.conftest import StartRun, use_scaler


class CauseSpikes(Hook):
    """Sets all labels to 1 in the given steps, and to 0 in all other steps.

    Records the steps in which the head's weights changed.
    """

    def __init__(self, *steps: int) -> None:
        self.steps = steps
        self.weights_before_step = torch.empty(0)
        self.changed_in: list[int] = []

    def on_train_start(self, run: Run) -> None:
        with torch.no_grad():  # confident predictions of label 0, so that label 1 has a high loss
            run.encoder_with_head.get_parameter("head.out.bias").copy_(torch.tensor([8.0, -8.0]))

    def on_batch(self, run: Run, batch: Batch) -> Batch:
        labels = torch.full_like(batch.labels, int(run.clock.step + 1 in self.steps))
        return Batch(batch.inputs, labels, batch.weights, batch.ids)

    def before_step(self, run: Run) -> None:
        self.weights_before_step = run.encoder_with_head.get_parameter("head.out.weight").detach().clone()

    def after_step(self, run: Run) -> None:
        if not torch.equal(self.weights_before_step, run.encoder_with_head.get_parameter("head.out.weight")):
            self.changed_in.append(run.clock.step)


@pytest.mark.parametrize("with_scaler", [False, True])
def test_guard_skips_a_spike(start_run: StartRun, with_scaler: bool) -> None:
    spikes = CauseSpikes(5)
    run = start_run([spikes, LossSpikeGuard(window=3, threshold=4.0)], max_steps=7)
    if with_scaler:
        use_scaler(run)
    train(run)
    assert spikes.changed_in == [1, 2, 3, 4, 6, 7]
    assert run.num_skipped == 1


def test_guard_stops_the_run_after_consecutive_spikes(start_run: StartRun) -> None:
    run = start_run([CauseSpikes(4, 5, 6), LossSpikeGuard(window=3, threshold=4.0, max_skips=2)], max_steps=9)
    train(run)
    assert run.clock.step == 5
    assert run.stop_reason is not None
    assert run.stop_reason.startswith("2 steps")


def test_guard_keeps_losses_until_an_edit(start_run: StartRun) -> None:
    guard = LossSpikeGuard(window=3, threshold=4.0)
    run = start_run([CauseSpikes(5), guard], max_steps=5)
    train(run)
    assert (len(guard.losses), guard.num_skips) == (3, 1)
    assert max(guard.losses) < run.step_loss  # the spike, in the last step, is not among them
    resumed = LossSpikeGuard(window=3)
    resumed.load_state_dict(guard.state_dict())
    assert (resumed.losses, resumed.num_skips) == (guard.losses, 1)
    resumed.on_resume(run)
    assert resumed.losses == guard.losses
    resumed.after_edits(run)
    assert resumed.losses == []


def test_guard_refuses_invalid_options() -> None:
    with pytest.raises(ValueError, match=r"window .*\b1\b"):
        LossSpikeGuard(window=1)

"""The moving average of the weights is evaluated and saved, and does not affect training."""

from __future__ import annotations

import pytest
import torch

from research.hooks.ema import ExponentialMovingAverage
from research.training.api import Run
from research.training.checkpoint.save import save_checkpoint
from research.training.hook import Hook
from research.training.loop import train
from research.training.run import TrainingRun
from tests.research.conftest import StartRun

DECAYS = [2 / 11, 3 / 12, 0.3, 0.3]
"""The documented decay min(decay, (1 + n) / (10 + n)) after step n, for a decay of 0.3. (4 / 13 is more than 0.3.)"""


class RecordWeights(Hook):
    """Records the weights after every step, and those used in every evaluation."""

    def __init__(self) -> None:
        self.after_steps: list[dict[str, torch.Tensor]] = []
        self.in_evaluations: list[dict[str, torch.Tensor]] = []

    def end_of_step(self, run: Run) -> None:
        self.after_steps.append(weights_of(run))

    def before_evaluate(self, run: Run, split: str) -> None:
        self.in_evaluations.append(weights_of(run))


def weights_of(run: Run) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in run.encoder_with_head.named_parameters()}


def test_ema_equals_the_documented_average_and_does_not_affect_training(start_run: StartRun) -> None:
    without_ema, with_ema = RecordWeights(), RecordWeights()
    train(start_run([without_ema], max_steps=4))
    # "2st": every 2 steps
    run = start_run([ExponentialMovingAverage(decay=0.3), with_ema], evaluate_every="2st", max_steps=4)
    train(run)
    for weights, weights_with_ema in zip(without_ema.after_steps, with_ema.after_steps, strict=True):
        assert all(torch.equal(weights[name], weights_with_ema[name]) for name in weights)
    name = "encoder.encoder.layer.1.output.dense.weight"
    average = without_ema.after_steps[0][name]  # the average starts as the weights after the first step
    for weights, decay in list(zip(without_ema.after_steps, DECAYS, strict=True))[1:]:
        average = average * decay + weights[name] * (1 - decay)
    torch.testing.assert_close(with_ema.in_evaluations[-1][name], average)
    torch.testing.assert_close(weights_of(run)[name], average)  # after training, the model has the averages
    assert not torch.equal(average, without_ema.after_steps[-1][name])


def test_ema_restarts_for_parameters_that_an_edit_creates(start_run: StartRun) -> None:
    recorder, hook = RecordWeights(), ExponentialMovingAverage(decay=0.9)
    run = start_run([hook, recorder], timeline=[{"at": "2st", "reinitialize": "head"}], max_steps=3)
    train(run)
    averages = hook.state_dict()["averages"]
    # Step 3 is the first step of the new head, so the average is the head's weights after it.
    assert torch.equal(averages["head.out.weight"], recorder.after_steps[2]["head.out.weight"])
    encoder_name = "encoder.encoder.layer.0.output.dense.weight"
    assert not torch.equal(averages[encoder_name], recorder.after_steps[2][encoder_name])


def test_ema_keeps_averages_of_renumbered_layers(start_run: StartRun) -> None:
    recorder, hook = RecordWeights(), ExponentialMovingAverage(decay=0.9)
    timeline = [{"at": "3st", "drop_layers": "encoder.layer[0]"}]
    # With these learning rates, the weights hardly change, so an average is close to its layer's first weights.
    run = start_run([hook, recorder], timeline=timeline, max_steps=4, evaluate_every="4st", lr=1e-12, head_lr=1e-12)
    train(run)
    layer_0, layer_1 = (f"encoder.encoder.layer.{number}.output.dense.weight" for number in (0, 1))
    # After step 3, layer 1 becomes layer 0.
    assert torch.allclose(recorder.in_evaluations[-1][layer_0], recorder.after_steps[1][layer_1], atol=1e-6)
    assert not torch.allclose(recorder.after_steps[1][layer_0], recorder.after_steps[1][layer_1], atol=1e-3)


def test_ema_restarts_for_merged_weights(start_run: StartRun) -> None:
    recorder, hook = RecordWeights(), ExponentialMovingAverage(decay=0.9)
    timeline = [{"at": "0%", "add_lora": {"r": 2, "freeze_base": False}}, {"at": "2st", "merge_lora": True}]
    train(start_run([hook, recorder], timeline=timeline, max_steps=3))
    averages, name = hook.state_dict()["averages"], "encoder.encoder.layer.0.output.dense.weight"
    # Step 3 is the first step after the merge, so the average is the weights after it.
    assert torch.equal(averages[name], recorder.after_steps[2][name])
    assert not any("lora" in average_name for average_name in averages)


def test_ema_does_not_average_frozen_parameters(start_run: StartRun) -> None:
    hook = ExponentialMovingAverage()
    train(start_run([hook], freeze=["encoder"], max_steps=2))
    assert set(hook.state_dict()["averages"]) == {"head.out.weight", "head.out.bias"}


def test_ema_is_bit_identical_after_a_resume(start_run: StartRun) -> None:
    class SaveAfterStep2(Hook):
        def end_of_step(self, run: Run) -> None:
            if run.clock.step == 2 and run.start is None:  # not in the resumed run
                assert isinstance(run, TrainingRun)
                save_checkpoint(run, keep=1)

    first, second = ExponentialMovingAverage(), ExponentialMovingAverage()
    uninterrupted = start_run([first, SaveAfterStep2()], max_steps=4)
    train(uninterrupted)
    checkpoint = uninterrupted.directory / "checkpoints" / "step-00000002"
    resumed = start_run([second, SaveAfterStep2()], max_steps=4, resume=checkpoint)
    train(resumed)
    expected, actual = weights_of(uninterrupted), weights_of(resumed)
    assert all(torch.equal(expected[name], actual[name]) for name in expected)
    assert first.num_steps == second.num_steps == 4


def test_ema_refuses_a_decay_of_1() -> None:
    with pytest.raises(ValueError, match=r"decay .*\b1\.0\b"):
        ExponentialMovingAverage(decay=1.0)


def test_ema_converges_to_the_weights_of_parameters_that_are_frozen_midway(start_run: StartRun) -> None:
    recorder, hook = RecordWeights(), ExponentialMovingAverage(decay=0.3)
    run = start_run([hook, recorder], timeline=[{"at": "4st", "freeze": "encoder"}], max_steps=16)
    train(run)
    name = "encoder.encoder.layer.1.output.dense.weight"
    frozen = recorder.after_steps[-1][name]
    assert torch.equal(frozen, recorder.after_steps[3][name])
    last_update = (frozen - recorder.after_steps[2][name]).abs().max()
    assert last_update > 0
    # 12 updates of the average follow, and each multiplies the difference by 0.3. The limit is the difference after 10
    # updates, which leaves room for rounding errors.
    assert (weights_of(run)[name] - frozen).abs().max() < last_update * 0.3**10

"""The equal average of the weights is evaluated and saved, and does not affect training."""

from __future__ import annotations

import pytest
import torch

from research.hooks.swa import StochasticWeightAveraging
from research.training.api import Run
from research.training.checkpoint.save import save_checkpoint
from research.training.hook import Hook
from research.training.loop import train
from research.training.run import TrainingRun
from tests.research.conftest import StartRun

LAYER_0, LAYER_1 = (f"encoder.encoder.layer.{number}.output.dense.weight" for number in (0, 1))


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


def mean_of(recorder: RecordWeights, steps: list[int], name: str) -> torch.Tensor:
    """Return the mean of a parameter over its values after some steps, counted from 1."""
    return torch.stack([recorder.after_steps[step - 1][name] for step in steps]).mean(dim=0)


def test_swa_equals_the_mean_of_the_weights_and_does_not_affect_training(start_run: StartRun) -> None:
    without_swa, with_swa = RecordWeights(), RecordWeights()
    train(start_run([without_swa], max_steps=7))
    hook = StochasticWeightAveraging(start="2st", every="2st")
    run = start_run([hook, with_swa], evaluate_every="1st", max_steps=7)
    train(run)
    for weights, weights_with_swa in zip(without_swa.after_steps, with_swa.after_steps, strict=True):
        assert all(torch.equal(weights[name], weights_with_swa[name]) for name in weights)
    assert torch.equal(with_swa.in_evaluations[0][LAYER_1], without_swa.after_steps[0][LAYER_1])  # no average yet
    expected_steps = {2: [2], 3: [2], 4: [2, 4], 5: [2, 4], 6: [2, 4, 6], 7: [2, 4, 6]}
    for step, steps in expected_steps.items():
        torch.testing.assert_close(with_swa.in_evaluations[step - 1][LAYER_1], mean_of(without_swa, steps, LAYER_1))
    # After training, the model has the averages.
    torch.testing.assert_close(weights_of(run)[LAYER_1], mean_of(without_swa, [2, 4, 6], LAYER_1))
    assert not torch.allclose(weights_of(run)[LAYER_1], without_swa.after_steps[-1][LAYER_1], atol=1e-6)


def test_swa_from_the_start_averages_from_the_first_step_on(start_run: StartRun) -> None:
    recorder = RecordWeights()
    run = start_run([StochasticWeightAveraging(start="0%", every="1st"), recorder], max_steps=3)
    train(run)
    torch.testing.assert_close(weights_of(run)[LAYER_1], mean_of(recorder, [1, 2, 3], LAYER_1))


def test_swa_restarts_for_parameters_that_an_edit_creates(start_run: StartRun) -> None:
    recorder, hook = RecordWeights(), StochasticWeightAveraging(start="1st", every="1st")
    run = start_run([hook, recorder], timeline=[{"at": "2st", "reinitialize": "head"}], max_steps=4)
    train(run)
    torch.testing.assert_close(weights_of(run)["head.out.weight"], mean_of(recorder, [3, 4], "head.out.weight"))
    torch.testing.assert_close(weights_of(run)[LAYER_1], mean_of(recorder, [1, 2, 3, 4], LAYER_1))


def test_swa_keeps_averages_of_renumbered_layers(start_run: StartRun) -> None:
    recorder = RecordWeights()
    timeline = [{"at": "3st", "drop_layers": "encoder.layer[0]"}]
    run = start_run([StochasticWeightAveraging(start="1st", every="1st"), recorder], timeline=timeline, max_steps=4)
    train(run)
    # The boundary of step 3 is before `end_of_step`, so from then on layer 1 is recorded as layer 0.
    weights = [recorder.after_steps[step][name] for step, name in enumerate((LAYER_1, LAYER_1, LAYER_0, LAYER_0))]
    torch.testing.assert_close(weights_of(run)[LAYER_0], torch.stack(weights).mean(dim=0))


def test_swa_drops_averages_of_removed_parameters(start_run: StartRun) -> None:
    hook = StochasticWeightAveraging(start="1st", every="1st")
    timeline = [{"at": "0%", "add_lora": {"r": 2, "freeze_base": False}}, {"at": "2st", "merge_lora": True}]
    train(start_run([hook], timeline=timeline, max_steps=3))
    state = hook.state_dict()
    assert state["averages"].keys() == state["num_averaged"].keys()
    assert not any("lora" in name for name in state["averages"])
    assert state["num_averaged"][LAYER_0.replace("output.dense", "attention.self.query")] == 1  # merged at step 2
    assert state["num_averaged"]["head.out.weight"] == 3


def test_swa_does_not_average_frozen_parameters(start_run: StartRun) -> None:
    hook = StochasticWeightAveraging(start="1st", every="1st")
    train(start_run([hook], freeze=["encoder"], max_steps=2))
    assert set(hook.state_dict()["averages"]) == {"head.out.weight", "head.out.bias"}


def test_swa_is_bit_identical_after_a_resume(start_run: StartRun) -> None:
    class SaveAfterStep3(Hook):
        def end_of_step(self, run: Run) -> None:
            if run.clock.step == 3 and run.start is None:  # not in the resumed run
                assert isinstance(run, TrainingRun)
                save_checkpoint(run, keep=1)

    first, second = (StochasticWeightAveraging(start="2st", every="2st") for _ in range(2))
    uninterrupted = start_run([first, SaveAfterStep3()], max_steps=6)
    train(uninterrupted)
    checkpoint = uninterrupted.directory / "checkpoints" / "step-00000003"
    resumed = start_run([second, SaveAfterStep3()], max_steps=6, resume=checkpoint)
    train(resumed)
    expected, actual = weights_of(uninterrupted), weights_of(resumed)
    assert all(torch.equal(expected[name], actual[name]) for name in expected)
    assert set(second.state_dict()["num_averaged"].values()) == {3}


def test_swa_that_never_starts_reports_it_and_keeps_the_last_weights(
    start_run: StartRun, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = RecordWeights()
    run = start_run([StochasticWeightAveraging(start="9st", every="1st"), recorder], max_steps=2)
    train(run)
    assert torch.equal(weights_of(run)[LAYER_1], recorder.after_steps[-1][LAYER_1])
    assert "averaged no weights" in caplog.text
    assert "9st" in caplog.text


def test_swa_refuses_an_interval_of_0() -> None:
    with pytest.raises(ValueError, match=r"'every' .*'0%'"):
        StochasticWeightAveraging(every="0%")


@pytest.mark.parametrize("hooks", [["ema", "swa"], ["swa", {"name": "swa", "start": "0%"}]])
def test_several_hooks_that_average_weights_are_refused(start_run: StartRun, hooks: list[object]) -> None:
    with pytest.raises(ValueError, match=r"at most one hook .*swa"):
        start_run([], hook=hooks)

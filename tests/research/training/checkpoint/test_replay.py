"""Edits give the same result when a resumed run or a fork applies them again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from research import Hook, register_edit
from research.edits.base import Editable, EditError
from research.records.results import weights_sha256
from research.training.api import Run
from research.training.checkpoint.replay import replay
from research.training.checkpoint.save import save_checkpoint
from research.training.checkpoint.state import STATE
from research.training.loop import train
from research.training.run import TrainingRun
from tests.research.conftest import StartRun

RESUMED_STEP = 8
"""Step after which the runs are resumed: two steps into the second epoch."""


class SaveEveryStep(Hook):
    """Saves a checkpoint after every step of a run that was not resumed."""

    def end_of_step(self, run: Run) -> None:
        """Save a checkpoint."""
        if run.start is None:
            assert isinstance(run, TrainingRun)
            save_checkpoint(run, keep=99)


class RequestAtEpochs(Hook):
    """Requests an edit at the end of each epoch and at the start of the next."""

    def on_epoch_end(self, run: Run) -> None:
        """Request an edit before the clock moves to the next epoch."""
        run.edit.reads_clock()

    def on_epoch_start(self, run: Run) -> None:
        """Request an edit after the clock has moved to the epoch."""
        run.edit.reads_clock()


READINGS: list[dict[str, int | None]] = []
"""State of the clock in each call of the edit `reads_clock`, except in rehearsals."""
REHEARSED: list[tuple[int, float]] = []
"""Step and epoch of the clock in each call of the edit `reads_clock` in a rehearsal."""


@register_edit("reads_clock", touches="nothing")
def reads_clock(run: Editable) -> None:
    """Record the clock's state."""
    if run.encoder_with_head.device.type == "meta":
        REHEARSED.append((run.clock.step, run.clock.epochs_done))
    else:
        READINGS.append(run.clock.state_dict())


@register_edit("freeze_changed_biases")
def freeze_changed_biases(run: Editable) -> None:
    """Freeze the biases of the head that are no longer 0."""
    for parameter in run.encoder_with_head.head.parameters():
        if not parameter.is_meta and parameter.ndim == 1 and float(parameter.detach().abs().max()) > 0:
            parameter.requires_grad_(False)
            parameter.grad = None


@register_edit("widen_if_bias_changed")
def widen_if_bias_changed(run: Editable) -> None:
    """Replace the head with one whose size depends on the values of a bias."""
    bias = run.encoder_with_head.head.get_parameter("out.bias")
    size = 8 if not bias.is_meta and float(bias.detach().abs().max()) > 0 else 4
    run.encoder_with_head.replace_head("mlp", {"mlp_size": size})
    run.new_parameters |= set(run.encoder_with_head.head.parameters())


@register_edit("logs_and_prints", touches="nothing")
def logs_and_prints(run: Editable) -> None:
    """Log a value and print a line."""
    run.log({"mine": 1.0})
    run.print("I am applied")


def checkpoint_of(run: TrainingRun, step: int = RESUMED_STEP) -> Path:
    return run.directory / "checkpoints" / f"step-{step:08d}"


def test_replay_sets_the_clock_to_the_time_of_each_edit(start_run: StartRun) -> None:
    READINGS.clear()
    settings = {"max_steps": 9, "timeline": [{"at": "5st", "reads_clock": None}, {"at": "6st", "reads_clock": None}]}
    uninterrupted = start_run([RequestAtEpochs(), SaveEveryStep()], **settings)
    train(uninterrupted)
    expected = list(READINGS)
    # Edits at the start of the first epoch, at 5st, at 6st, at the end of the epoch, and at the start of the next.
    assert [(reading["step"], reading["epoch"]) for reading in expected] == [(0, 0), (5, 0), (6, 0), (6, 0), (6, 1)]
    READINGS.clear()
    resumed = start_run([RequestAtEpochs(), SaveEveryStep()], resume=checkpoint_of(uninterrupted), **settings)
    assert expected == READINGS
    assert resumed.clock.step == RESUMED_STEP
    assert resumed.journal == uninterrupted.journal

    READINGS.clear()
    # A run of a different length, such as a fork, sets its clock to the same positions.
    longer = start_run([RequestAtEpochs()], **{**settings, "max_steps": 12})
    replay(longer, uninterrupted.journal, trainable=None)
    assert expected == READINGS
    assert (longer.clock.step, longer.clock.total_steps) == (0, 12)

    READINGS.clear()
    # Records of earlier versions have no clock; [1:4] leaves out the edits requested at the start of an epoch.
    old_journal = [type(record)(**{**vars(record), "clock": None}) for record in uninterrupted.journal[1:4]]
    replay(start_run([RequestAtEpochs()], **settings), old_journal, trainable=None)
    assert expected[1:4] == READINGS


def test_replay_restores_which_parameters_train_if_an_edit_depends_on_weights(
    start_run: StartRun,
) -> None:
    settings = {"max_steps": 9, "timeline": [{"at": "5st", "freeze_changed_biases": None}]}
    uninterrupted = start_run([SaveEveryStep()], **settings)
    train(uninterrupted)
    messages: list[str] = []
    resumed = start_run([SaveEveryStep()], resume=checkpoint_of(uninterrupted), messages=messages, **settings)
    assert not resumed.encoder_with_head.head.get_parameter("out.bias").requires_grad
    assert resumed.wrapping.num_trainable == uninterrupted.wrapping.num_trainable
    assert any("head.out.bias (frozen)" in line for line in messages)
    train(resumed)
    assert weights_sha256(resumed.encoder_with_head) == weights_sha256(uninterrupted.encoder_with_head)

    state = checkpoint_of(uninterrupted) / STATE
    content = json.loads(state.read_text())
    del content["trainable"]  # as in checkpoints of earlier versions
    state.write_text(json.dumps(content))
    with pytest.raises(EditError, match=r"After step 5, freeze_changed_biases\(\) .*trainable parameters"):
        start_run([SaveEveryStep()], resume=checkpoint_of(uninterrupted), **settings)


def test_replay_refuses_an_edit_that_builds_a_different_model(start_run: StartRun) -> None:
    settings = {"max_steps": 9, "timeline": [{"at": "5st", "widen_if_bias_changed": None}]}
    uninterrupted = start_run([SaveEveryStep()], **settings)
    train(uninterrupted)
    with pytest.raises(EditError, match=r"After step 5, widen_if_bias_changed\(\) .*values of weights"):
        start_run([SaveEveryStep()], resume=checkpoint_of(uninterrupted), **settings)


def test_replay_neither_logs_nor_prints_again(start_run: StartRun, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {"max_steps": 9, "timeline": [{"at": "5st", "logs_and_prints": None}]}
    uninterrupted = start_run([SaveEveryStep()], **settings)
    train(uninterrupted)
    assert capsys.readouterr().out.count("I am applied") == 1
    resumed = start_run([SaveEveryStep()], resume=checkpoint_of(uninterrupted), **settings)
    assert resumed.to_log == {}
    assert "I am applied" not in capsys.readouterr().out
    resumed.log({"mine": 2.0})
    assert resumed.to_log == {"mine": 2.0}


def test_rehearsal_sets_the_clock_to_the_time_of_each_edit(start_run: StartRun) -> None:
    REHEARSED.clear()
    start_run([], max_steps=9, timeline=[{"every": "3st", "reads_clock": None}])
    # An epoch has 6 steps, and `every` does not apply edits after the last step.
    assert set(REHEARSED) == {(3, 0.5), (6, 1.0)}

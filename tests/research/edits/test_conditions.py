"""Conditions of `when:` come true at the right evaluation."""

from __future__ import annotations

import pytest

from research import Hook
from research.edits.conditions import parse_condition
from research.records.results import weights_sha256
from research.training.api import Run
from research.training.checkpoint.save import save_checkpoint
from research.training.loop import train
from research.training.run import TrainingRun
from tests.research.conftest import StartRun

CASES: list[tuple[str, list[float], int | None]] = [
    # Condition, values of its metric, and the number (from 1) of the value with which the condition comes true.
    ("plateau(validation/loss, 2)", [3.0, 2.0, 2.5, 2.1, 1.0], 4),
    ("plateau(validation/loss, 2)", [3.0, 2.0, 2.5, 1.9, 2.0], None),
    ("plateau(validation/accuracy, 1)", [0.5, 0.6, 0.6], 3),
    ("above(validation/accuracy, 0.7)", [0.5, 0.7, 0.71], 3),
    ("below(validation/loss, 0.5)", [0.6, 0.4, 0.6], 2),
]


@pytest.mark.parametrize(("text", "values", "expected"), CASES)
def test_condition_comes_true_at_most_once(text: str, values: list[float], expected: int | None) -> None:
    condition = parse_condition(text)
    assert str(condition) == text
    observed = [condition.observe({condition.metric: value}) for value in values]
    assert [number for number, is_true in enumerate(observed, start=1) if is_true] == ([expected] if expected else [])
    if expected:
        assert not any(condition.observe({condition.metric: value}) for value in values), "it came true a second time"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sometimes", r"'sometimes'.*above, below, plateau"),
        ("plato(validation/loss, 2)", "'plato'.*'plateau'"),
        ("plateau(test/loss, 2)", r"'plateau\(test/loss, 2\)'.*above, below, plateau"),
        ("plateau(validation/loss, -1)", r"integer above 0.*, -1\)'"),
        ("plateau(validation/loss, 2.5)", r"integer above 0.*, 2\.5\)'"),
        ("above(validation/loss, 1.2.3)", r"'1\.2\.3'"),
    ],
)
def test_parse_condition_refuses_invalid_conditions(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_condition(text)


@pytest.mark.parametrize("resume_step", [2, 3, 5])
def test_conditional_edit_waits_for_its_condition_with_and_without_a_resume(
    start_run: StartRun, resume_step: int
) -> None:
    class Save(Hook):
        def end_of_step(self, run: Run) -> None:
            if run.clock.step == resume_step and run.start is None:  # not in the resumed run
                assert isinstance(run, TrainingRun)
                save_checkpoint(run, keep=1)

    settings = {
        "max_steps": 8,
        "evaluate_every": "1st",  # after every step
        "lr": 1e-12,  # so that the metric is constant, and the plateau comes with the fourth evaluation
        "head_lr": 1e-12,
        "timeline": [{"when": "plateau(validation/accuracy, 3)", "freeze": "encoder", "set_lr": {"lr": 0.1}}],
    }
    uninterrupted = start_run([Save()], **settings)
    train(uninterrupted)
    assert [(record.step, record.name, record.requested_by) for record in uninterrupted.journal] == [
        (4, "freeze", "timeline entry 1"),
        (4, "set_lr", "timeline entry 1"),
    ]
    resumed = start_run(
        [Save()], resume=uninterrupted.directory / "checkpoints" / f"step-{resume_step:08d}", **settings
    )
    train(resumed)
    assert resumed.journal == uninterrupted.journal
    assert weights_sha256(resumed.encoder_with_head) == weights_sha256(uninterrupted.encoder_with_head)


def test_condition_on_the_loss_is_reset_by_a_change_of_the_objective(start_run: StartRun) -> None:
    # The learning rates are so low that neither the cross-entropy nor the focal loss improves.
    settings = {"max_steps": 8, "evaluate_every": "1st", "lr": 1e-12, "head_lr": 1e-12}  # "1st" means every step
    timeline = [{"at": "3st", "set_objective": "focal"}, {"when": "plateau(validation/loss, 3)", "freeze": "encoder"}]
    run = start_run(timeline=timeline, **settings)
    train(run)
    # The condition observes cross-entropy after steps 1 to 3, and is reset. It then observes the focal loss: a first
    # evaluation after step 4, and three more without improvement.
    assert [record.step for record in run.journal if record.name == "freeze"] == [7]


@pytest.mark.parametrize(
    ("every", "when", "message"),
    [
        (None, "above(validation/loss, 0)", r"above\(.*\b1 or more evaluations .*\b0\."),
        ("4st", "plateau(validation/loss, 1)", r"plateau\(.*\b2 or more evaluations .*\b1\."),
    ],
)
def test_condition_is_refused_if_it_can_never_come_true(
    start_run: StartRun, every: str | None, when: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        start_run(max_steps=8, evaluate_every=every, timeline=[{"when": when, "freeze": "encoder"}])

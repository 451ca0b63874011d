"""Objectives, compared with values computed by hand."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from research.data.batches.batch import Batch
from research.learning.objectives import OBJECTIVES, ObjectiveOutput
from research.settings.config import Choice
from research.settings.options import create
from research.tasks.base import Task
from research.tasks.multi_label import MultiLabel
from research.tasks.regression import Regression
from research.tasks.single_label import SingleLabel
from tests.shipped import shipped_names

SINGLE_LABEL = SingleLabel(("a", "b"), label_counts=(3, 1), num_train=4)
MULTI_LABEL = MultiLabel(("a", "b"), label_counts=(1, 3), num_train=4)
REGRESSION = Regression(("score",))


class FixedLogits(nn.Module):
    """A model that ignores its inputs, and returns the given sets of logits in turn, one in each call."""

    def __init__(self, *logits: list[list[float]], dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.logits = [torch.tensor(values, dtype=dtype) for values in logits]
        self.num_calls = 0

    def forward(self, **inputs: Tensor) -> Any:
        self.num_calls += 1
        return SimpleNamespace(logits=self.logits[(self.num_calls - 1) % len(self.logits)])


def compute_losses(task: Task, name: str, model: nn.Module, labels: Any, **options: Any) -> list[float]:
    """Return the loss of each row, after checking shape and type; `options` are options of the objective."""
    targets = torch.tensor(labels)
    batch = Batch({}, targets, torch.ones(len(targets)), torch.arange(len(targets)))
    output: ObjectiveOutput = create(OBJECTIVES, Choice(name, options), task)(model, batch)
    assert output.losses.shape == (len(targets),)
    assert output.losses.dtype == torch.float32
    return output.losses.tolist()


def cross_entropy(logits: list[float], label: int) -> float:
    return math.log(sum(math.exp(logit) for logit in logits)) - logits[label]


LOGITS = [[2.0, 0.0], [0.5, 1.5]]
"""Logits of two rows with two labels."""


def output_units_of(task: Task, name: str, **options: Any) -> list[list[float]]:
    """Return the shift and the scale of each logit that the objective of this name chooses."""
    return [values.tolist() for values in create(OBJECTIVES, Choice(name, options), task).output_units()]


def test_output_units_follow_the_distribution_of_labels() -> None:
    assert output_units_of(SINGLE_LABEL, "cross_entropy") == [[0, 0], [1, 1]]
    shift, scale = output_units_of(MULTI_LABEL, "bce")
    # The log odds of each label, with half a row added to both counts.
    assert shift == pytest.approx([math.log(1.5 / 3.5), math.log(3.5 / 1.5)])
    assert scale == [1, 1]
    assert output_units_of(MULTI_LABEL, "bce", pos_weight="balanced") == [[0, 0], [1, 1]]
    assert output_units_of(Regression(("score",), score_mean=3.0, score_std=1.5), "mse") == [[3], [1.5]]


def test_cross_entropy_matches_losses_computed_by_hand() -> None:
    expected = [cross_entropy(LOGITS[0], 1), cross_entropy(LOGITS[1], 1)]
    assert compute_losses(SINGLE_LABEL, "cross_entropy", FixedLogits(LOGITS), [1, 1]) == pytest.approx(expected)


def test_cross_entropy_smooths_labels() -> None:
    expected = 0.9 * cross_entropy(LOGITS[0], 0) + 0.1 * (cross_entropy(LOGITS[0], 0) + cross_entropy(LOGITS[0], 1)) / 2
    losses = compute_losses(SINGLE_LABEL, "cross_entropy", FixedLogits([LOGITS[0]]), [0], label_smoothing=0.1)
    assert losses == pytest.approx([expected])


def test_balanced_class_weights_have_a_mean_of_one_over_the_training_rows() -> None:
    # Label a has 3 rows and label b has 1, so the weights have a ratio of 1/3 to 1, and 3 w_a + 1 w_b = 4.
    expected = [2 / 3 * cross_entropy(LOGITS[0], 0), 2.0 * cross_entropy(LOGITS[1], 1)]
    balanced = compute_losses(SINGLE_LABEL, "cross_entropy", FixedLogits(LOGITS), [0, 1], class_weights="balanced")
    assert balanced == pytest.approx(expected)
    explicit = compute_losses(SINGLE_LABEL, "cross_entropy", FixedLogits(LOGITS), [0, 1], class_weights=[1.0, 3.0])
    assert explicit == pytest.approx(expected)


@pytest.mark.parametrize(
    ("task", "objective", "options"),
    [
        (SINGLE_LABEL, "cross_entropy", {"class_weights": "balanced"}),
        (SINGLE_LABEL, "cross_entropy", {"class_weights": [1.0, 3.0]}),
        (MULTI_LABEL, "bce", {"pos_weight": "balanced"}),
    ],
)
def test_weights_are_refused_if_the_training_rows_were_not_counted(
    task: Task, objective: str, options: dict[str, Any]
) -> None:
    create(OBJECTIVES, Choice(objective, options), task)
    streamed = dataclasses.replace(task, counted_split="validation")
    with pytest.raises(ValueError, match=f"{next(iter(options))}.*--streaming"):
        create(OBJECTIVES, Choice(objective, options), streamed)
    create(OBJECTIVES, Choice(objective), streamed)


def test_logit_adjustment_is_refused_if_the_training_rows_were_not_counted() -> None:
    with pytest.raises(ValueError, match=r"logit_adjusted.*--streaming"):
        create(OBJECTIVES, Choice("logit_adjusted"), dataclasses.replace(SINGLE_LABEL, counted_split="validation"))


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0]])
def test_cross_entropy_rejects_invalid_class_weights(weights: list[float]) -> None:
    with pytest.raises(ValueError, match=r"\b2 numbers.* a, b; .*1\.0"):
        compute_losses(SINGLE_LABEL, "cross_entropy", FixedLogits(LOGITS), [0, 1], class_weights=weights)


def test_focal_matches_losses_computed_by_hand() -> None:
    probability = math.exp(-cross_entropy(LOGITS[0], 1))
    expected = (1 - probability) ** 2 * cross_entropy(LOGITS[0], 1)  # gamma is 2 by default
    assert compute_losses(SINGLE_LABEL, "focal", FixedLogits([LOGITS[0]]), [1]) == pytest.approx([expected])
    unfocused = compute_losses(SINGLE_LABEL, "focal", FixedLogits(LOGITS), [0, 1], gamma=0)
    assert unfocused == pytest.approx([cross_entropy(LOGITS[0], 0), cross_entropy(LOGITS[1], 1)])


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_has_finite_gradients_for_rows_predicted_with_certainty(gamma: float) -> None:
    logits = torch.tensor([[200.0, 0.0]], requires_grad=True)
    model: Any = lambda **inputs: SimpleNamespace(logits=logits)  # noqa: E731
    batch = Batch({}, torch.tensor([0]), torch.ones(1), torch.zeros(1, dtype=torch.long))
    create(OBJECTIVES, Choice("focal", {"gamma": gamma}), SINGLE_LABEL)(model, batch).losses.sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_logit_adjustment_matches_losses_computed_by_hand() -> None:
    # Label a has 3 of 4 training rows and label b has 1, so with tau 2 their logits are shifted by 2 log(3/4) and
    # 2 log(1/4). The difference between the logits grows by 2 log 3.
    shifted = [[first + 2 * math.log(3), second] for first, second in LOGITS]
    expected = [cross_entropy(shifted[0], 0), cross_entropy(shifted[1], 1)]
    losses = compute_losses(SINGLE_LABEL, "logit_adjusted", FixedLogits(LOGITS), [0, 1], tau=2)
    assert losses == pytest.approx(expected, rel=1e-5)
    plain = compute_losses(SINGLE_LABEL, "logit_adjusted", FixedLogits(LOGITS), [0, 1], tau=0)
    assert plain == pytest.approx([cross_entropy(LOGITS[0], 0), cross_entropy(LOGITS[1], 1)])
    objective = create(OBJECTIVES, Choice("logit_adjusted"), SINGLE_LABEL)
    batch = Batch({}, torch.tensor([0, 1]), torch.ones(2), torch.zeros(2, dtype=torch.long))
    assert objective(FixedLogits(LOGITS), batch).logits.tolist() == LOGITS


def test_bce_averages_over_labels_and_can_balance_positive_labels() -> None:
    def binary(logit: float, label: float) -> float:
        return math.log1p(math.exp(-logit)) if label else math.log1p(math.exp(logit))

    losses = compute_losses(MULTI_LABEL, "bce", FixedLogits([[2.0, -1.0]]), [[1.0, 1.0]])
    assert losses == pytest.approx([(binary(2, 1) + binary(-1, 1)) / 2])
    # Positive labels are weighted with 3 / 1 (label a) and 1 / 3 (label b).
    losses = compute_losses(MULTI_LABEL, "bce", FixedLogits([[2.0, -1.0]]), [[1.0, 1.0]], pos_weight="balanced")
    assert losses == pytest.approx([(3 * binary(2, 1) + binary(-1, 1) / 3) / 2])


def test_mse_matches_losses_computed_by_hand() -> None:
    assert compute_losses(REGRESSION, "mse", FixedLogits([[2.0], [1.0]]), [0.5, 1.0]) == pytest.approx([2.25, 0.0])


def test_r_drop_matches_losses_computed_by_hand() -> None:
    def distribution(logits: list[float]) -> list[float]:
        return [math.exp(-cross_entropy(logits, label)) for label in (0, 1)]

    def divergence(p: list[float], q: list[float]) -> float:
        return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))

    first, second = (distribution(logits) for logits in LOGITS)
    expected = (cross_entropy(LOGITS[0], 1) + cross_entropy(LOGITS[1], 1)) / 2
    # The paper adds alpha times the mean divergence to the sum of the cross entropies. Here, all is divided by 2.
    expected += 3.0 * (divergence(first, second) + divergence(second, first)) / 2 / 2
    model = FixedLogits([LOGITS[0]], [LOGITS[1]])
    assert compute_losses(SINGLE_LABEL, "r_drop", model, [1], alpha=3.0) == pytest.approx([expected], rel=1e-5)
    assert model.num_calls == 2


def test_r_drop_uses_one_pass_in_evaluation_mode() -> None:
    model = FixedLogits([LOGITS[0]]).eval()
    assert compute_losses(SINGLE_LABEL, "r_drop", model, [1]) == pytest.approx([cross_entropy(LOGITS[0], 1)])
    assert model.num_calls == 1


@pytest.mark.parametrize("name", shipped_names(OBJECTIVES))
def test_objective_accepts_only_the_tasks_that_it_lists(name: str) -> None:
    for task in (SINGLE_LABEL, MULTI_LABEL, REGRESSION):
        if task.name in OBJECTIVES[name].tasks:
            create(OBJECTIVES, Choice(name), task)
        else:
            with pytest.raises(ValueError, match=rf" {task.name}\. .*\b{task.default_objective}\b"):
                create(OBJECTIVES, Choice(name), task)


@pytest.mark.parametrize("task", [SINGLE_LABEL, MULTI_LABEL, REGRESSION])
def test_default_objective_computes_losses_of_bfloat16_logits_in_float32(task: Task) -> None:
    model = FixedLogits([[1.0] * task.num_labels] * 2, dtype=torch.bfloat16)
    labels = {"single_label": [0, 1], "multi_label": [[1.0, 0.0]] * 2, "regression": [1.0, 2.0]}[task.name]
    assert all(math.isfinite(loss) for loss in compute_losses(task, task.default_objective, model, labels))


@pytest.mark.parametrize(("name", "option"), [("focal", "gamma"), ("r_drop", "alpha"), ("logit_adjusted", "tau")])
def test_objective_rejects_negative_options(name: str, option: str) -> None:
    with pytest.raises(ValueError, match=rf"{option} .*\b0\b.* -1\.0"):
        create(OBJECTIVES, Choice(name, {option: -1.0}), SINGLE_LABEL)


def test_register_objective_rejects_classes_that_are_not_objectives() -> None:
    with pytest.raises(ValueError, match=r"no_objective.* Objective; .*int"):
        OBJECTIVES.register("no_objective")(int)
    assert "no_objective" not in OBJECTIVES

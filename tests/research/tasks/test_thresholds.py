"""Thresholds, computed by hand and by trying every possible one."""

from __future__ import annotations

import numpy as np
import pytest

from research.tasks.multi_label import MultiLabel
from research.tasks.thresholds import Criterion, choose_threshold

PROBABILITIES = np.array([0.9, 0.8, 0.6, 0.6, 0.3, 0.1])
HAS_LABEL = np.array([True, False, True, False, True, False])


@pytest.mark.parametrize(
    ("criterion", "predicted"),
    [
        ("f1", 5),  # F1 is 0.5, 0.4, 4/7 (for four rows) and 0.75 (for five rows)
        ("precision=0.6", 5),  # precision 1, 0.5, 0.5, 0.6
        ("precision=0.7", 1),
        ("recall=0.3", 1),
        ("recall=0.5", 5),  # a precision of 0.6 for five rows, 0.5 for four
        ("recall=1", 5),
    ],
)
def test_threshold_is_the_best_for_its_criterion(criterion: str, predicted: int) -> None:
    threshold, reason = choose_threshold(Criterion.parse(criterion), PROBABILITIES, HAS_LABEL)
    assert (threshold < PROBABILITIES).sum() == predicted
    assert reason is None


@pytest.mark.parametrize("criterion", ["f1", "precision=0.5", "recall=0.6"])
def test_no_other_threshold_is_better(criterion: str) -> None:
    generator = np.random.default_rng(0)
    probabilities = generator.random(200).round(2)  # with equal probabilities
    has_label = generator.random(200) < probabilities
    parsed = Criterion.parse(criterion)

    def quality(threshold: float) -> float:
        predicted = probabilities > threshold
        correct = (predicted & has_label).sum()
        precision, recall = correct / max(predicted.sum(), 1), correct / has_label.sum()
        if parsed.target is None:
            return float(2 * correct / (predicted.sum() + has_label.sum()))
        wanted, other = (precision, recall) if parsed.name == "precision" else (recall, precision)
        return float(other) if wanted >= parsed.target else -1.0

    threshold, _ = choose_threshold(parsed, probabilities, has_label)
    assert quality(threshold) == max(quality(other) for other in np.arange(-0.005, 1, 0.01))


def test_threshold_is_a_short_number_that_rounding_errors_do_not_change() -> None:
    thresholds = [
        choose_threshold(Criterion("f1"), probabilities, np.array([True, False]))[0]
        for probabilities in (np.array([0.612345678, 0.2]), np.array([0.612345679, 0.2000001]))
    ]
    assert thresholds == [0.4, 0.4]


def test_labels_that_do_not_meet_the_criterion_are_reported_by_name() -> None:
    task = MultiLabel(("good", "rare", "hard"))
    labels = np.array([[1, 0, 0], [0, 0, 1], [1, 0, 0]], dtype=np.float32)
    logits = np.array([[2.0, 0.0, 1.0], [-1.0, 1.0, 0.5], [3.0, 0.0, 0.2]], dtype=np.float32)
    thresholds = task.fit_thresholds(logits, labels, Criterion.parse("precision=0.9"))
    assert thresholds.fallbacks.keys() == {"rare", "hard"}
    assert thresholds.values[1] == 0.5
    assert "0.5000" in thresholds.fallbacks["hard"]  # the row is the second of the two most probable
    assert "no row" in thresholds.fallbacks["rare"]
    probabilities = task.probabilities(logits)
    assert (probabilities[:, 2] > thresholds.values[2]).sum() == 2


@pytest.mark.parametrize(
    "text", ["", "f2", "f1=0.5", "precision", "recall=", "precision=0", "recall=1.1", "precision=x", "recall=nan"]
)
def test_criterion_refuses_other_forms(text: str) -> None:
    with pytest.raises(ValueError, match=r"precision=<target>"):
        Criterion.parse(text)


def test_criterion_is_written_as_it_is_parsed() -> None:
    for text in ("f1", "precision=0.9", "recall=0.75"):
        assert str(Criterion.parse(text)) == text

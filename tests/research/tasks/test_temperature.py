"""Temperatures that maximise the likelihood of labels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from research.tasks.multi_label import MultiLabel
from research.tasks.single_label import SingleLabel
from research.tasks.temperature import HIGHEST_TEMPERATURE, LOWEST_TEMPERATURE

SINGLE, MULTI = SingleLabel(("a", "b", "c")), MultiLabel(("a", "b", "c"))
GENERATOR = np.random.default_rng(0)
LOGITS = GENERATOR.normal(scale=4, size=(500, 3)).astype(np.float32)


def draw_labels(temperature: float) -> np.ndarray:
    """Return labels that have the probabilities of the logits at a temperature."""
    noise = np.random.default_rng(1).gumbel(size=LOGITS.shape)
    return np.asarray((LOGITS / temperature + noise).argmax(axis=1))


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 3.0])
def test_temperature_of_a_softmax_minimises_the_log_loss(true_temperature: float) -> None:
    labels = draw_labels(true_temperature)
    temperature = SINGLE.fit_temperature(LOGITS, labels)
    best = minimize_scalar(
        lambda log: SINGLE.compute_metrics(LOGITS / np.exp(log), labels)["log_loss"], bounds=(-3, 3), method="bounded"
    )
    assert temperature == pytest.approx(np.exp(best.x), rel=1e-3)
    assert temperature == pytest.approx(true_temperature, rel=0.2)
    assert len(f"{temperature:.15g}".replace(".", "").lstrip("0")) <= 6


def test_temperature_of_sigmoids_minimises_the_log_loss() -> None:
    labels = (np.random.default_rng(2).random(LOGITS.shape) < MULTI.probabilities(LOGITS / 2)).astype(np.float32)
    temperature = MULTI.fit_temperature(LOGITS, labels)
    losses = [
        MULTI.compute_metrics(LOGITS / factor, labels)["log_loss"]
        for factor in (temperature * 0.99, temperature * 1.01)
    ]
    assert MULTI.compute_metrics(LOGITS / temperature, labels)["log_loss"] < min(losses)


def test_temperature_ends_at_its_range_if_all_predictions_are_right_or_useless() -> None:
    assert SINGLE.fit_temperature(LOGITS, LOGITS.argmax(axis=1)) == LOWEST_TEMPERATURE
    assert SINGLE.fit_temperature(LOGITS, LOGITS.argmin(axis=1)) == HIGHEST_TEMPERATURE


def test_temperature_ignores_rows_with_unseen_labels() -> None:
    labels = draw_labels(2.0)
    expected = SINGLE.fit_temperature(LOGITS[100:], labels[100:])
    labels[:100] = 3
    assert SINGLE.fit_temperature(LOGITS, labels) == expected


@pytest.mark.parametrize("task", [SINGLE, MULTI])
def test_logits_from_probabilities_give_the_same_probabilities(task: SingleLabel | MultiLabel) -> None:
    logits = np.array([[-60.0, 0.5, 80.0], [1.0, 2.0, -3.0]])
    probabilities = task.probabilities(logits)
    recovered = task.logits_from(probabilities)
    assert np.isfinite(recovered).all()
    np.testing.assert_allclose(task.probabilities(recovered), probabilities, rtol=1e-12)

"""Confusion matrices, precision-recall curves and regression figures."""

from __future__ import annotations

import io

import numpy as np
import pytest

from research.records.figures import MAX_CURVES, confusion_matrix_figure, pr_curve_figure, regression_figure
from research.report.rendering import embed_figure
from research.tasks.multi_label import MultiLabel
from research.tasks.regression import Regression
from research.tasks.single_label import SingleLabel


@pytest.mark.parametrize("num_labels", [2, 6, 28])
def test_figures_are_drawn_for_few_and_many_labels(num_labels: int) -> None:
    names = tuple(f"label {index}" for index in range(num_labels))
    task = SingleLabel(names, label_counts=(1,) * num_labels, num_train=num_labels)
    generator = np.random.default_rng(0)
    labels = generator.integers(0, num_labels, 300)
    probabilities = generator.dirichlet(np.ones(num_labels), 300)
    matrix = confusion_matrix_figure(task, labels, probabilities.argmax(axis=1))
    counts = [int(text.get_text()) for text in matrix.axes[0].texts]
    assert 0 not in counts, "cells with the count 0 must be empty"
    assert sum(counts) == 300
    curves = pr_curve_figure(task, labels, np.log(probabilities))
    assert curves is not None
    # Two labels share one curve, that of the second label.
    assert len(curves.axes[0].lines) == (1 if num_labels == 2 else min(num_labels, MAX_CURVES))
    assert (f"of {num_labels} labels" in curves.axes[0].get_title()) == (num_labels > MAX_CURVES)
    for figure in (matrix, curves):
        png = io.BytesIO()
        figure.savefig(png, format="png")
        assert png.getvalue().startswith(b"\x89PNG")


def test_pr_curves_of_a_multi_label_task_omit_labels_without_rows() -> None:
    task = MultiLabel(("a", "b", "never"), label_counts=(1, 1, 0), num_train=4)
    labels = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0]])
    figure = pr_curve_figure(task, labels, np.random.default_rng(0).normal(size=(4, 3)))
    assert figure is not None
    assert [text.get_text()[:1] for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_regression_has_no_pr_curve() -> None:
    assert pr_curve_figure(Regression(("score",)), np.array([1.0, 2.0]), np.array([[1.0], [3.0]])) is None


def test_names_with_dollar_signs_are_not_read_as_formulas() -> None:
    task = SingleLabel(("$x_{$", "costs $5 or $6"), label_counts=(1, 1), num_train=2)
    labels, probabilities = np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]])
    regression = Regression(("$y_{$",))
    figures = [
        confusion_matrix_figure(task, labels, labels),
        pr_curve_figure(task, labels, np.log(probabilities)),
    ]
    for figure in [*figures, regression_figure(regression, np.array([1.0, 2.0]), np.array([1.0, 3.0]))]:
        assert figure is not None
        figure.savefig(io.BytesIO(), format="png")  # raises an error if a name is read as an invalid formula


def test_names_with_missing_glyphs_cause_no_warning() -> None:
    labels = np.array([0, 1])
    task = SingleLabel(("正面", "负面"), label_counts=(1, 1), num_train=2)
    figure = confusion_matrix_figure(task, labels, labels)
    assert embed_figure("matrix", figure).source.startswith("data:image/svg+xml;base64,")

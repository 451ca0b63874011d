"""Pictures of predictions, for TensorBoard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, confusion_matrix, precision_recall_curve

from research.system.plain_text import for_picture
from research.tasks.task import Task

NUM_CURVES = 8
"""Precision-recall curves in one picture; of more labels, the most frequent are drawn, and the title says so."""


def confusion_matrix_figure(task: Task, labels: NDArray[Any], predicted: NDArray[Any]) -> Figure:
    """Draw how many rows of each label were predicted as which.

    Args:
        task: the labels (single_label).
        labels: [num_rows].
        predicted: [num_rows].
    """
    counts = confusion_matrix(labels, predicted, labels=range(task.num_labels))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = min(2.5 + 0.45 * task.num_labels, 20)
    small = task.num_labels > 20
    figure = Figure(figsize=(size + 1, size), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    names = [for_picture(name) for name in task.label_names]
    axes.set_xticks(range(task.num_labels), names, rotation=45, ha="right")
    axes.set_yticks(range(task.num_labels), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("label")
    for row, column in zip(*np.nonzero(counts), strict=True):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(
            column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=6 if small else 8
        )
    figure.colorbar(image, ax=axes, label="share of the label's rows", shrink=0.8)
    return figure


def pr_curve_figure(task: Task, labels: NDArray[Any], scores_of: Callable[[int], NDArray[Any]]) -> Figure:
    """Draw precision against recall, each label against the rest; of two labels, the second.

    Args:
        task: the labels (single_label or multi_label).
        labels: [num_rows], or [num_rows, num_labels] for multi_label.
        scores_of: returns the probabilities of a label, [num_rows].
    """
    counts = labels.sum(axis=0) if labels.ndim == 2 else np.bincount(labels, minlength=task.num_labels)
    binary = task.problem_type == "single_label" and task.num_labels == 2
    candidates = [index for index in ([1] if binary else range(task.num_labels)) if counts[index]]
    drawn = sorted(candidates, key=lambda index: -int(counts[index]))[:NUM_CURVES]
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for index in drawn:
        applies, scores = labels[:, index] == 1 if labels.ndim == 2 else labels == index, scores_of(index)
        precision, recall, _ = precision_recall_curve(applies, scores)
        average = average_precision_score(applies, scores)
        axes.plot(
            recall,
            precision,
            label=f"{for_picture(task.label_names[index])} (AP {average:.3f})",
            drawstyle="steps-post",
        )
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    if len(drawn) < len(candidates):
        axes.set_title(f"the {len(drawn)} most frequent of {len(candidates)} labels")
    if drawn:
        figure.legend(loc="outside right upper", fontsize=8)
    return figure


def regression_figure(task: Task, scores: NDArray[Any], predicted: NDArray[Any]) -> Figure:
    """Draw predictions against scores, with the line on which they are equal.

    Args:
        task: whose score it is (regression).
        scores: [num_rows].
        predicted: [num_rows].
    """
    figure = Figure(figsize=(5, 4.5), layout="constrained")
    axes = figure.subplots()
    # Thousands of points would make a heavy picture of shapes.
    axes.scatter(scores, predicted, s=8, alpha=0.4, linewidths=0, rasterized=True)
    bounds = [float(min(scores.min(), predicted.min())), float(max(scores.max(), predicted.max()))]
    axes.plot(bounds, bounds, color="black", linestyle=":", linewidth=1)
    axes.set(xlabel=for_picture(task.label_names[0]), ylabel="predicted")
    return figure

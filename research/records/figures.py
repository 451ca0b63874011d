"""Figures of a run's predictions, for TensorBoard and the report page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, confusion_matrix, precision_recall_curve

from research.learning.predictions import Predictions
from research.records.many_labels import MANY_LABELS
from research.records.palette import COLOURS, DARK_MATRIX, INK, LIGHT_MATRIX, MATRIX, cycle_colours
from research.system.plain_text import for_figure
from research.tasks.base import Task
from research.tasks.calibration import NUM_BINS, Reliability

MAX_CURVES = 8
"""Maximum number of precision-recall curves in a figure. If there are more labels, only the most frequent are drawn,
as the title states."""


def confusion_matrix_figure(task: Task, labels: NDArray[Any], predicted: NDArray[Any]) -> Figure:
    """Draw a confusion matrix: number of rows by label and predicted label, coloured by the share of the label's rows.

    Args:
        task: a single-label task.
        labels: label code of each row, [num_rows].
        predicted: predicted label code of each row, [num_rows].
    """
    counts = confusion_matrix(labels, predicted, labels=range(task.num_labels))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = min(2.5 + 0.45 * task.num_labels, 20)
    font_size = 6 if task.num_labels > 20 else 8
    figure = Figure(figsize=(size + 1, size), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, vmin=0, vmax=1, cmap=MATRIX)
    names = [for_figure(name) for name in task.label_names]
    axes.set_xticks(range(task.num_labels), names, rotation=45, ha="right")
    axes.set_yticks(range(task.num_labels), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("label")
    for row, column in zip(*np.nonzero(counts), strict=True):
        colour = LIGHT_MATRIX if shares[row, column] > 0.5 else DARK_MATRIX
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=font_size)
    figure.colorbar(image, ax=axes, label="share of the label's rows", shrink=0.8)
    return figure


def confusion_matrix_figures(task: Task, predictions: Mapping[str, Predictions]) -> dict[str, Figure]:
    """Draw the confusion matrix of each split with labels; none if the task has none, or has many labels.

    Args:
        task: the task.
        predictions: predictions for each split.
    """
    if not task.has_confusion_matrix or task.num_labels >= MANY_LABELS:
        return {}
    return {
        split: confusion_matrix_figure(task, each.labels, task.predicted_labels(each.logits))
        for split, each in predictions.items()
        if each.labels is not None
    }


def reliability_figure(groups: Mapping[str, Reliability]) -> Figure:
    """Draw the observed frequency of predictions against their probability, and how many have which probability.

    Args:
        groups: predictions grouped by probability, by the name of the model's state (before, after).
    """
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes, histogram = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    cycle_colours(axes)
    cycle_colours(histogram)
    edges = np.linspace(0, 1, NUM_BINS + 1)
    axes.plot((0, 1), (0, 1), color=INK, linestyle=":", linewidth=1)
    for name, group in groups.items():
        occupied = group.num_predictions > 0
        counts, confidences = group.num_predictions[occupied], group.confidences[occupied]
        label = f"{name} (calibration error {group.calibration_error:.4f})"
        axes.plot(confidences / counts, (confidences + group.gaps[occupied]) / counts, marker="o", ms=4, label=label)
        histogram.stairs(group.num_predictions / group.num_predictions.sum(), edges)
    axes.set(ylabel="observed frequency", xlim=(0, 1), ylim=(0, 1))
    axes.legend(loc="upper left", fontsize=8)
    histogram.set(xlabel="predicted probability", ylabel="share", ylim=(0, None))
    return figure


def pr_curve_figure(task: Task, labels: NDArray[Any], logits: NDArray[Any]) -> Figure | None:
    """Draw a precision-recall curve for each label versus the rest.

    Args:
        task: the task.
        labels: labels of the rows, as returned by `Task.label_array`.
        logits: [num_rows, num_labels].
    Returns:
        The figure, or None if the task's labels have no probabilities.
    """
    one_versus_rest = task.one_versus_rest(labels, logits, MAX_CURVES)
    if one_versus_rest is None:
        return None
    drawn_labels, num_labels = one_versus_rest  # `num_labels` counts the labels that occur
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    cycle_colours(axes)
    for label in drawn_labels:
        precision, recall, _ = precision_recall_curve(label.has_label, label.probabilities)
        average = average_precision_score(label.has_label, label.probabilities)
        axes.plot(recall, precision, label=f"{for_figure(label.name)} (AP {average:.3f})", drawstyle="steps-post")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    if len(drawn_labels) < num_labels:
        axes.set_title(f"the {len(drawn_labels)} most frequent of {num_labels} labels")
    if drawn_labels:
        figure.legend(loc="outside right upper", fontsize=8)
    return figure


def regression_figure(task: Task, scores: NDArray[Any], predicted: NDArray[Any]) -> Figure:
    """Draw predicted against true scores, with the diagonal on which both are equal.

    Args:
        task: a regression task.
        scores: true score of each row, [num_rows].
        predicted: predicted score of each row, [num_rows].
    """
    figure = Figure(figsize=(5, 4.5), layout="constrained")
    axes = figure.subplots()
    # Rasterized: thousands of points as vector shapes would make a large file.
    axes.scatter(scores, predicted, s=8, alpha=0.4, linewidths=0, rasterized=True, color=COLOURS[0])
    bounds = [float(min(scores.min(), predicted.min())), float(max(scores.max(), predicted.max()))]
    axes.plot(bounds, bounds, color=INK, linestyle=":", linewidth=1)
    axes.set(xlabel=for_figure(task.label_names[0]), ylabel="predicted")
    return figure

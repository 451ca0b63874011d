"""Figures of a search: its performance against its budget, each searched setting, and trade-offs of two objectives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from research.records.palette import BACKGROUND, COLOURS, GRID, INK
from research.studies.arm_names import describe_value
from research.studies.report.figures import MAX_METRIC_LENGTH, WIDTH
from research.studies.search.results import SearchTrial
from research.studies.search.space import Dimension, Range
from research.system.plain_text import for_figure

SLICE_HEIGHT = 2.2
"""Height of the panel of one searched setting, in inches."""


def budget_figure(expected: Sequence[float], best_so_far: Sequence[float], label: str, hours: float) -> Figure:
    """Draw the expected and the actual best validation metric against the number of configurations.

    Args:
        expected: expected best of the first n configurations in random order, for each n.
        best_so_far: best of the first n configurations in the order in which they started.
        label: name of the metric.
        hours: hours that a configuration takes on average, for the upper axis.
    """
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(range(1, len(expected) + 1), expected, color=COLOURS[0], linewidth=2, label="expected, in random order")
    axes.step(range(1, len(best_so_far) + 1), best_so_far, where="post", color=COLOURS[1], label="best so far")
    axes.set(xlabel="configurations", ylabel=for_figure(f"validation {label}", MAX_METRIC_LENGTH))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    upper = axes.twiny()  # the same axis in hours
    upper.set(xlim=[hours * limit for limit in axes.get_xlim()], xlabel="hours of all trials together")
    axes.grid(visible=True, color=GRID)
    axes.legend(loc="lower right", frameon=False)
    return figure


def slices_figure(trials: Sequence[SearchTrial], space: Mapping[str, Dimension], label: str) -> Figure:
    """Draw the validation metric of all trials against each searched setting. Crosses are pruned trials.

    Args:
        trials: trials with a value.
        space: the search's space.
        label: name of the metric.
    """
    figure = Figure(figsize=(WIDTH, SLICE_HEIGHT * len(space)), layout="constrained")
    all_axes = figure.subplots(len(space), squeeze=False)[:, 0]
    for axes, (name, dimension) in zip(all_axes, space.items(), strict=True):
        for is_pruned, marker, colour in ((True, "x", BACKGROUND), (False, "o", COLOURS[0])):
            chosen = [trial for trial in trials if trial.is_pruned == is_pruned and name in trial.values]
            positions = [position_in(dimension, trial.values[name]) for trial in chosen]
            axes.plot(positions, [trial.metric for trial in chosen], marker, color=colour, markersize=4.5, alpha=0.8)
        if not isinstance(dimension, Range):
            names = [for_figure(describe_value(value), MAX_METRIC_LENGTH // 4) for value in dimension.values]
            axes.set_xticks(range(len(names)), names)
        elif dimension.is_log:
            axes.set_xscale("log")
        axes.set(xlabel=for_figure(name), ylabel=for_figure(label, MAX_METRIC_LENGTH // 2))
        axes.grid(visible=True, color=GRID)
        axes.set_axisbelow(True)
    return figure


def position_in(dimension: Dimension, value: object) -> float:
    """Return the horizontal position of a value: the number itself, or the index in a list of values."""
    if isinstance(dimension, Range):
        return dimension.read_number(value)  # outside the range if the range was changed later
    return float([str(known) for known in dimension.values].index(str(value)))


def trade_off_figure(trials: Sequence[SearchTrial], front: Sequence[SearchTrial], label: str, minimized: str) -> Figure:
    """Draw the metric against the second objective, and connect the best trade-offs.

    Args:
        trials: finished trials.
        front: the best trade-offs among them.
        label: name of the metric.
        minimized: name of the second objective.
    """
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    axes = figure.subplots()
    front = sorted(front, key=lambda trial: trial.second)
    axes.plot([trial.second for trial in trials], [trial.metric for trial in trials], "o", color=BACKGROUND)
    axes.step(
        [trial.second for trial in front],
        [trial.metric for trial in front],
        where="post",
        color=INK,
        marker="o",
        markerfacecolor=COLOURS[0],
        markeredgecolor=COLOURS[0],
    )
    axes.set(xlabel=minimized.replace("_", " "), ylabel=for_figure(f"validation {label}", MAX_METRIC_LENGTH))
    axes.grid(visible=True, color=GRID)
    axes.set_axisbelow(True)
    return figure

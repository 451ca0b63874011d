"""Figures of a search: its performance against its budget, each searched setting, and trade-offs of two objectives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from research.records.palette import BACKGROUND, COLOURS, GRID, INK
from research.studies.arm_names import describe_value
from research.studies.report.figures import MAX_METRIC_LENGTH, NAME_FONT_SIZE, WIDTH
from research.studies.search.results import SearchTrial
from research.studies.search.space import Dimension, Range
from research.system.plain_text import for_figure

SLICE_HEIGHT = 2.2
"""Height of the panel of one searched setting, in inches."""
NEARBY = (0.04, 0.06)
"""Distance, as a fraction of the width and height of the axes, below which points have one label."""


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
    upper.xaxis.set_major_locator(MaxNLocator(4))  # more labels would run together
    axes.grid(visible=True, color=GRID)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)  # outside the axes, where it covers no curve
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


def trade_off_figure(
    trials: Sequence[SearchTrial],
    front: Sequence[SearchTrial],
    label: str,
    minimized: str,
    *,
    higher_is_better: bool,
) -> Figure:
    """Draw the metric against the second objective, and connect the best trade-offs, which are numbered.

    Args:
        trials: finished trials.
        front: the best trade-offs among them, in the order of their numbers: the best metric first.
        label: name of the metric.
        minimized: name of the second objective.
        higher_is_better: whether higher values of the metric are better.
    """
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    axes = figure.subplots()
    numbers = {trial.trial.id: number for number, trial in enumerate(front, start=1)}
    front = sorted(front, key=lambda trial: trial.second)
    costs = [trial.second for trial in trials]
    axes.plot(costs, [trial.metric for trial in trials], "o", color=BACKGROUND)
    axes.step(
        [trial.second for trial in front],
        [trial.metric for trial in front],
        where="post",
        color=INK,
        marker="o",
        markerfacecolor=COLOURS[0],
        markeredgecolor=COLOURS[0],
    )
    if max(costs) > 10 * min(costs) > 0:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3) if max(costs) < 100 * min(costs) else (1,), numticks=6))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))  # as in tables: 100,000
    axes.margins(x=0.08, y=0.12)  # room for the numbers
    for group in _group_nearby(axes, front):
        first, last = sorted((numbers[group[0].trial.id], numbers[group[-1].trial.id]))
        axes.annotate(
            str(first) if first == last else f"{first}-{last}",
            (group[0].second, group[0].metric),
            xytext=(-3, 3 if higher_is_better else -3),  # the line comes from the other side
            textcoords="offset points",
            ha="right",
            va="bottom" if higher_is_better else "top",
            fontsize=NAME_FONT_SIZE,
        )
    axes.set(xlabel=minimized, ylabel=for_figure(f"validation {label}", MAX_METRIC_LENGTH))
    axes.grid(visible=True, color=GRID)
    axes.set_axisbelow(True)
    return figure


def _group_nearby(axes: Axes, trials: Sequence[SearchTrial]) -> list[list[SearchTrial]]:
    """Group consecutive trials whose points are so close together that their numbers would overlap."""
    axes.autoscale_view()  # computes the limits, which positions depend on
    to_axes = axes.transData + axes.transAxes.inverted()
    groups: list[list[SearchTrial]] = []
    start = (0.0, 0.0)  # position of the first point of the last group
    for trial in trials:
        x, y = to_axes.transform((trial.second, trial.metric))
        if groups and abs(x - start[0]) < NEARBY[0] and abs(y - start[1]) < NEARBY[1]:
            groups[-1].append(trial)
        else:
            groups.append([trial])
            start = (x, y)
    return groups

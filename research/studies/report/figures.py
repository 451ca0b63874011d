"""Figures of a study's arms. Each arm has the same style in all figures and is labelled directly in the figure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from research.records.palette import BACKGROUND, GRID, INK, PAPER
from research.records.step_figures import FEW_POINTS
from research.studies.grid import COMMON_PAST
from research.studies.report.costs import ArmCost, TrialCost
from research.studies.report.curves import ArmCurves, ArmEdit
from research.studies.report.ranking import RankedArm
from research.studies.report.styles import MANY_ARMS, ArmStyle
from research.studies.units import Unit
from research.system.plain_text import for_figure

WIDTH = 5.2
"""Width in inches; narrow, so that text remains readable if a phone scales the figure down."""
NAME_FONT_SIZE = 9.0
"""Font size of the arms' names, in points."""
MAX_METRIC_LENGTH = 60
"""Maximum number of characters of a metric's name, which may contain a label and so be long."""
Styles = Mapping[str, ArmStyle]


def intervals_figure(ranked: Sequence[RankedArm], styles: Styles, baseline: str, label: str) -> Figure:
    """Draw the mean of each arm with its 95% confidence interval, and a dot for each seed.

    Args:
        ranked: the arms, from top to bottom.
        styles: style of each arm.
        baseline: the baseline, whose mean is marked with a vertical line.
        label: name of the metric, for an axis.
    """
    arms_with_means = [(each, each.summary.mean) for each in ranked if each.summary.mean is not None]
    is_dense = len(arms_with_means) > MANY_ARMS
    row_height = 0.19 if is_dense else 0.36  # inches
    figure = Figure(figsize=(WIDTH, 0.8 + row_height * len(arms_with_means)), layout="constrained")
    axes = figure.subplots()
    for row, (each, mean) in enumerate(arms_with_means):
        style, summary = styles[each.arm], each.summary
        if each.arm == baseline:
            axes.axvline(mean, color=INK, linestyle=":", linewidth=1)
        if summary.interval is not None:
            axes.plot(
                summary.interval, [row, row], color=style.colour, linewidth=2.4, alpha=0.75, solid_capstyle="butt"
            )
        values = [each.values[seed] for seed in summary.seeds]
        below = row + 0.27  # the dots are below the bar: the vertical axis points down
        axes.plot(values, [below] * len(values), "o", color=style.colour, markersize=3.5, alpha=0.6, linewidth=0)
        axes.plot([mean], [row], style.marker, color=style.colour, markersize=5 if is_dense else 7)
    names = [
        for_figure(styles[each.arm].name) + (" (baseline)" if each.arm == baseline else "")
        for each, _ in arms_with_means
    ]
    axes.set_yticks(range(len(arms_with_means)), names, fontsize=NAME_FONT_SIZE)
    axes.set(xlabel=for_figure(label, MAX_METRIC_LENGTH), ylim=(len(arms_with_means) - 0.4, -0.6))
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.grid(visible=True, axis="x", color=GRID)
    axes.set_axisbelow(True)
    return figure


def arm_curves_figure(arms: Sequence[ArmCurves], edits: Sequence[ArmEdit], styles: Styles, label: str) -> Figure:
    """Draw each arm's mean curve over its seeds, with the curves of the seeds faintly in the background.

    Args:
        arms: curves of the arms.
        edits: edits to mark; an edit of a single arm has the arm's colour.
        styles: style of each arm.
        label: label of the vertical axis.
    """
    figure, axes = _new_figure_and_axes(len(arms))
    for each in arms:
        style = styles[each.arm]
        for curve in each.seed_curves:
            axes.plot(*curve, color=style.colour, linewidth=0.7, alpha=0.4)
    for each in arms:
        style = styles[each.arm]
        sparse = len(each.mean[0]) <= FEW_POINTS
        marker_interval = 1 if sparse else max(1, len(each.mean[0]) // 8)
        axes.plot(
            *each.mean,
            color=style.colour,
            linestyle=style.dashes,
            linewidth=1.8,
            marker=style.marker,
            markersize=4,
            markevery=marker_interval,
        )
    last = max((step for each in arms for curve in (each.mean, *each.seed_curves) for step in curve[0]), default=1)
    axes.set(xlabel="step", ylabel=for_figure(label, MAX_METRIC_LENGTH), xlim=(0.5, last + 0.5))
    _clip_to_means(axes, arms)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    _mark_edits(axes, edits, styles, last)
    last_means = {each.arm: each.mean[1][-1] for each in arms if each.mean[0] and math.isfinite(each.mean[1][-1])}
    if COMMON_PAST in last_means:  # its curve ends where those of the arms start
        del last_means[COMMON_PAST]
        past = next(each.mean for each in arms if each.arm == COMMON_PAST)
        axes.annotate(
            COMMON_PAST,
            ((past[0][0] + past[0][-1]) / 2, 1.01),  # above the axes, where no curve can cross it
            xycoords=axes.get_xaxis_transform(),
            xytext=(0, 1.3 * NAME_FONT_SIZE if edits else 0),  # above the numbers of the edits
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=NAME_FONT_SIZE,
        )
    _name_arms(axes, last_means, styles)
    return figure


def cost_figure(
    costs: Sequence[ArmCost],
    values: Mapping[str, Mapping[Unit, float]],
    styles: Styles,
    label: str,
    quantity: str,
    named: Collection[str],
) -> Figure:
    """Draw a metric against a cost: a large marker for each arm's mean, and a dot for each seed.

    White markers and dots mark trials on cached hidden states, whose time does not include running the encoder.

    Args:
        costs: costs of the arms.
        values: the metric by arm and seed.
        styles: style of each arm.
        label: name of the metric, for an axis.
        quantity: the cost to draw, "seconds" or "parameters".
        named: arms that are shown with their names and colours; other arms are grey.
    """
    figure, axes = _new_figure_and_axes(len(named))
    all_costs, means = [], {}
    for each in costs:
        style, arm_values = styles[each.arm], values[each.arm]
        colour = style.colour if each.arm in named else BACKGROUND
        seeds = [seed for seed in each.trials if math.isfinite(arm_values[seed])]
        if not seeds:
            continue
        seed_costs = [_cost(each.trials[seed], quantity) for seed in seeds]
        metric_values = [arm_values[seed] for seed in seeds]
        faces = [PAPER if quantity == "seconds" and each.trials[seed].is_cached else colour for seed in seeds]
        axes.scatter(seed_costs, metric_values, s=11, c=faces, edgecolors=colour, linewidths=0.8, alpha=0.5)
        face = PAPER if quantity == "seconds" and each.num_cached == len(each.trials) else colour
        mean = statistics.fmean(metric_values)
        axes.plot(
            [statistics.fmean(seed_costs)], [mean], style.marker, color=colour, markerfacecolor=face, markersize=8
        )
        if each.arm in named:
            means[each.arm] = mean
        all_costs += seed_costs
    _set_cost_axis(axes, all_costs, quantity)
    axes.set(
        xlabel="time of all steps (s)" if quantity == "seconds" else "trainable parameters (mean over steps)",
        ylabel=for_figure(label, MAX_METRIC_LENGTH),
    )
    _name_arms(axes, means, styles)
    return figure


def _clip_to_means(axes: Axes, arms: Sequence[ArmCurves]) -> None:
    """Limit the vertical axis to a range around the means, because a single spike would flatten all curves."""
    means = [value for each in arms for value in each.mean[1] if math.isfinite(value)]
    values = [value for each in arms for curve in each.seed_curves for value in curve[1] if math.isfinite(value)]
    if not means or max(means) == min(means):
        return
    margin = 0.25 * (max(means) - min(means))
    low, high = max(min(means) - margin, min(values)), min(max(means) + margin, max(values))
    axes.set_ylim(low - 0.04 * (high - low), high + 0.04 * (high - low))


def _set_cost_axis(axes: Axes, costs: Sequence[float], quantity: str) -> None:
    """Set up the horizontal axis, which is logarithmic if costs differ more than tenfold."""
    if costs and max(costs) > 10 * min(costs) > 0:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3) if max(costs) < 100 * min(costs) else (1,)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(EngFormatter(sep="") if quantity == "parameters" else FuncFormatter(_plain_number))


def _plain_number(value: float, _: object) -> str:
    return f"{value:g}"


def _cost(trial: TrialCost, quantity: str) -> float:
    return trial.seconds if quantity == "seconds" else trial.mean_trainable_parameters


def _new_figure_and_axes(num_arms: int) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, max(2.9, 0.8 + 0.19 * num_arms)), layout="constrained")
    axes = figure.subplots()
    axes.grid(visible=True, color=GRID)
    axes.set_axisbelow(True)
    return figure, axes


def _name_arms(axes: Axes, values: Mapping[str, float], styles: Styles) -> None:
    """Write the names of the arms to the right of the axes, each as close as possible to the height of its value."""
    axes.set_ylim(axes.get_ylim())  # freezes the limits, which the positions below depend on
    low, high = axes.get_ylim()
    arms = sorted(values, key=lambda arm: values[arm])
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    gap = 1.35 * NAME_FONT_SIZE / (72 * figure.get_size_inches()[1] - 45)  # the axis and its label take about 45 points
    heights = _spread([(values[arm] - low) / (high - low) for arm in arms], gap)
    for arm, height in zip(arms, heights, strict=True):
        style, value_height = styles[arm], (values[arm] - low) / (high - low)
        axes.plot(
            [1.0, 1.04],
            [value_height, height],
            color=style.colour,
            linewidth=0.7,
            transform=axes.transAxes,
            clip_on=False,
        )
        axes.plot(
            [1.06], [height], style.marker, color=style.colour, markersize=5, transform=axes.transAxes, clip_on=False
        )
        axes.text(
            1.09,
            height,
            for_figure(style.name),
            transform=axes.transAxes,
            va="center_baseline",
            fontsize=NAME_FONT_SIZE,
        )


def _spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Return ascending heights close to the wanted ones, at least `gap` apart, and between 0 and 1 if there is room."""
    heights: list[float] = []
    for height in wanted:
        heights.append(max(height, heights[-1] + gap) if heights else max(height, 0.0))
    highest = 1.0
    for index in reversed(range(len(heights))):
        heights[index] = min(heights[index], highest)
        highest = heights[index] - gap
    return heights


def _mark_edits(axes: Axes, edits: Sequence[ArmEdit], styles: Styles, num_steps: float) -> None:
    """Mark edits with vertical lines and their numbers; numbers that would overlap are written as a range."""
    colours: dict[int, str] = {}
    for edit in edits:
        has_arm_colour = len(edit.arms) == 1 and colours.get(edit.step) in (None, styles[edit.arms[0][0]].colour)
        colours[edit.step] = styles[edit.arms[0][0]].colour if has_arm_colour else INK
    for step, colour in colours.items():  # an edit lies between this step and the next
        axes.axvline(step + 0.5, color=colour, linestyle=":", linewidth=1)
    groups: list[list[ArmEdit]] = []
    for edit in edits:
        if groups and edit.step - groups[-1][0].step <= 0.04 * num_steps:
            groups[-1].append(edit)
        else:
            groups.append([edit])
    for group in groups:
        text = str(group[0].number) if len(group) == 1 else f"{group[0].number}-{group[-1].number}"
        transform = axes.get_xaxis_transform()
        axes.text(
            group[0].step + 0.5, 1.01, text, transform=transform, ha="center", va="bottom", fontsize=NAME_FONT_SIZE - 1
        )

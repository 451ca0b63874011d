"""Figures of values over the steps of a run, with its edits marked."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from research.edits.records import Record
from research.records.palette import BACKGROUND, COLOURS, FAINT, GRID, INK, block_colours, cycle_colours
from research.records.shown_figure import ShownFigure
from research.system.plain_text import for_figure

Curve = tuple[Sequence[float], Sequence[float]]
"""Steps and values."""
FEW_POINTS = 25
"""Curves with at most this many points get a marker at each point, so that even a single point is visible."""
MAX_POINTS = 2000
"""Maximum number of points drawn per curve. Longer curves are shortened by averaging neighbouring points."""

MAX_LISTED = 20
"""Maximum number of edits that a figure describes. Further edits are only counted."""
MAX_CHARACTERS_BELOW = 80
"""Maximum number of characters of an edit that is described below the axes."""


def mark_edits(axes: Sequence[Axes], edits: Sequence[Record], num_steps: int) -> None:
    """Mark edits with vertical lines, and write their numbers above the first axes.

    Numbers that would overlap are written as a range.

    Args:
        axes: the axes to draw in.
        edits: applied edits, in order.
        num_steps: number of steps of the run.
    """
    for step in dict.fromkeys(record.step for record in edits):
        for each in axes:
            each.axvline(step + 0.5, color=INK, linestyle=":", linewidth=1)  # edits come between two steps
    groups: list[list[Record]] = []
    for record in edits:
        if groups and record.step - groups[-1][0].step <= 0.025 * num_steps:  # the numbers would overlap
            groups[-1].append(record)
        else:
            groups.append([record])
    for group in groups:
        text = str(group[0].number) if len(group) == 1 else f"{group[0].number}-{group[-1].number}"
        transform = axes[0].get_xaxis_transform()
        axes[0].text(group[0].step + 0.5, 1.01, text, transform=transform, ha="center", va="bottom", fontsize=8)


def describe_edits(edits: Sequence[Record], longest: int) -> list[str]:
    """Return one line for each edit, with the number that `mark_edits` writes; further edits are only counted.

    Args:
        edits: applied edits, in order.
        longest: maximum number of characters of an edit.
    """
    lines = [
        f"{record.number}: after step {record.step:,}, {for_figure(str(record.request), longest)}"
        for record in edits[:MAX_LISTED]
    ]
    if len(edits) > len(lines):
        lines.append(f"and {len(edits) - len(lines)} more")
    return lines


def list_edits_below(figure: Figure, edits: Sequence[Record]) -> None:
    """List the edits below the axes of a figure, and make the figure higher by as much."""
    lines = describe_edits(edits, MAX_CHARACTERS_BELOW)
    if lines:
        figure.supxlabel("\n".join(lines), x=0.02, ha="left", fontsize=8)
        figure.set_figheight(figure.get_figheight() + 0.17 * len(lines))


def position_in_model(block: str) -> tuple[int, int]:
    """Return a sort key that puts blocks into the order of the model."""
    if block.startswith("layer."):
        return 1, int(block.removeprefix("layer."))
    return {"embeddings": 0, "rest": 2, "head": 3}[block], 0


def loss_figure(
    training: Curve, validation: Curve, edits: Sequence[Record], num_steps: int, parent: Sequence[Curve] = ()
) -> Figure:
    """Draw the training loss and the validation loss.

    Args:
        training: loss at each logged step.
        validation: validation loss at each evaluated step.
        edits: edits to mark.
        num_steps: number of steps of the run.
        parent: training and validation loss of the parent run if this run is a fork; drawn in the background.
    """
    figure, axes = _step_axes("loss", num_steps)
    _draw_parent(axes, [running_mean(curve) for curve in parent[:1]] + [*parent[1:]])  # the first is the training loss
    steps, losses = thin_out(training)
    axes.plot(steps, losses, color=FAINT, linewidth=1, label="training")
    window = _window_size(losses)
    if window > 1:
        means = running_mean((steps, losses))
        axes.plot(*means, color=COLOURS[0], linewidth=1.8, label=f"running mean,\n{window} logged steps")
    axes.plot(*validation, color=COLOURS[1], marker="o", label="validation")
    return _finish_figure(figure, axes, edits, num_steps)


def curves_figure(
    curves: Mapping[str, Curve], label: str, edits: Sequence[Record], num_steps: int, parent: Sequence[Curve] = ()
) -> Figure:
    """Draw several curves with a common vertical axis.

    Args:
        curves: curves by their name in the legend.
        label: label of the vertical axis.
        edits: edits to mark.
        num_steps: number of steps of the run.
        parent: the same curves of the parent run if this run is a fork; drawn in the background.
    """
    figure, axes = _step_axes(for_figure(label), num_steps)
    _draw_parent(axes, parent)
    if max(abs(value) for _, values in curves.values() for value in values) >= 10_000:
        axes.yaxis.set_major_formatter(EngFormatter(sep=""))
    for name, curve in curves.items():
        axes.plot(*thin_out(curve), label=for_figure(name), marker="o" if len(curve[0]) <= FEW_POINTS else "")
    return _finish_figure(figure, axes, edits, num_steps)


def rates_figure(curves: Mapping[str, Curve], edits: Sequence[Record], num_steps: int) -> Figure:
    """Draw the learning rate of each block on a logarithmic axis.

    Args:
        curves: learning rates by block.
        edits: edits to mark.
        num_steps: number of steps of the run.
    """
    figure, axes = _step_axes("learning rate", num_steps)
    blocks = sorted(curves, key=position_in_model)
    colours = block_colours(blocks)
    for block in blocks:
        axes.plot(*thin_out(curves[block]), color=colours[block], linestyle="-", label=block, linewidth=1.4)
    show_rates_logarithmically(axes, max(max(values) for _, values in curves.values()))
    return _finish_figure(figure, axes, edits, num_steps)


def show_rates_logarithmically(axes: Axes, highest: float) -> None:
    """Make the axis of learning rates logarithmic, down to 1/3000 of the highest rate; rates of 0 are not drawn."""
    if highest == 0:  # the run stopped in the first step of its warmup
        return
    axes.set_yscale("log", nonpositive="mask")
    axes.set_ylim(highest / 3000, highest * 1.5)


def _step_axes(label: str, num_steps: int) -> tuple[Figure, Axes]:
    figure = ShownFigure(figsize=(6, 3), layout="constrained")
    axes = figure.subplots()
    cycle_colours(axes)
    axes.set(xlabel="step", ylabel=label, xlim=(0.5, max(1, num_steps) + 0.5))  # num_steps is 0 if a run stops early
    axes.grid(visible=True, color=GRID)
    axes.set_axisbelow(True)
    return figure, axes


def _draw_parent(axes: Axes, curves: Sequence[Curve]) -> None:
    for number, curve in enumerate(curves):
        label = "" if number else "parent"  # a single legend entry for all curves of the parent
        axes.plot(*thin_out(curve), color=BACKGROUND, linestyle="--", linewidth=1.2, label=label)


def running_mean(curve: Curve) -> Curve:
    """Return the trailing running mean of a curve, which shows the trend of a noisy curve."""
    steps, values = thin_out(curve)
    window = _window_size(values)
    return steps, [statistics.fmean(values[max(0, i - window + 1) : i + 1]) for i in range(len(values))]


def _window_size(values: Sequence[float]) -> int:
    """Return the number of points that each value of the running mean covers."""
    return max(1, len(values) // 25)


def _finish_figure(figure: Figure, axes: Axes, edits: Sequence[Record], num_steps: int) -> Figure:
    mark_edits([axes], edits, num_steps)
    if len(axes.get_legend_handles_labels()[0]) > 1:
        figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    return figure


def thin_out(curve: Curve, max_points: int = MAX_POINTS) -> Curve:
    """Return a curve of at most `max_points` points, each the mean of neighbouring points."""
    num_points = len(curve[0])
    num_averaged = -(-num_points // max_points)  # rounded up
    if num_averaged <= 1:
        return curve
    slices = [slice(start, start + num_averaged) for start in range(0, num_points, num_averaged)]
    steps, values = ([statistics.fmean(each[part]) for part in slices] for each in curve)
    return steps, values

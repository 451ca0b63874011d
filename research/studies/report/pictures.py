"""The figures of a study, with their titles and alternative texts, for its page and for papers."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from research.report.alt_texts import describe_curves, list_items
from research.report.rendering import figure_as_svg
from research.studies.grid import COMMON_PAST
from research.studies.report.contents import Contents
from research.studies.report.curves import ArmCurves
from research.studies.report.figures import Styles, arm_curves_figure, cost_figure, intervals_figure
from research.studies.report.notation import format_amount, format_decimal, format_interval, format_thousands
from research.studies.report.styles import PAST_STYLE


@dataclass(frozen=True)
class StudyPicture:
    """A figure of a study."""

    name: str
    """Name of its files, without the suffix."""
    title: str
    """Heading."""
    figure: Figure
    """The figure."""
    alt: str
    """What the figure shows, in words and numbers."""

    @functools.cached_property
    def svg(self) -> str:
        """The figure as SVG, for light pages."""
        return figure_as_svg(self.figure)


@dataclass(frozen=True)
class StudyPictures:
    """All figures of a study, by the section in which the page shows them."""

    intervals: Sequence[StudyPicture]
    """Means and intervals; empty if no arm has a value."""
    curves: Sequence[StudyPicture]
    """Learning curves."""
    costs: Sequence[StudyPicture]
    """The metric against costs."""

    def __iter__(self) -> Iterator[StudyPicture]:
        yield from (*self.intervals, *self.curves, *self.costs)


def draw_pictures(contents: Contents, styles: Styles) -> StudyPictures:
    """Draw all figures of a study."""
    return StudyPictures(
        intervals=list(_draw_intervals(contents, styles)),
        curves=list(_draw_curves(contents, styles)),
        costs=list(_draw_costs(contents, styles)),
    )


def _draw_intervals(contents: Contents, styles: Styles) -> Iterator[StudyPicture]:
    """Yield the figure of means and intervals, unless no arm has a value."""
    ranked, decimals = contents.ranked, contents.decimals.mean
    if all(each.summary.mean is None for each in ranked):
        return
    figure = intervals_figure(ranked, styles, contents.study.baseline, _metric_label(contents))
    items = [
        f"{styles[each.arm].name}: {format_decimal(each.summary.mean, decimals)} "
        f"({format_interval(each.summary.interval, decimals)})"
        for each in ranked
    ]
    yield StudyPicture("intervals", f"Means, confidence intervals and {contents.units}", figure, list_items(items))


def _draw_curves(contents: Contents, styles: Styles) -> Iterator[StudyPicture]:
    """Yield the learning curves of `Contents.drawn_arms`."""
    drawn = set(contents.drawn_arms)
    styles = {**styles, COMMON_PAST: PAST_STYLE}
    edits = [edit for edit in contents.edits if any(arm in drawn for arm, _ in edit.arms)]
    validation = f"Validation {contents.metric}"
    drawings: list[tuple[str, str, str, Sequence[ArmCurves]]] = [
        ("training_loss", "Training loss", "training loss", contents.loss_curves),
        ("validation_metric", validation, validation, contents.validation_curves),
    ]
    for name, title, label, arms in drawings:
        if arms:
            figure = arm_curves_figure(arms, edits, styles, label)
            means = {styles[each.arm].name: each.mean for each in arms}
            yield StudyPicture(name, title, figure, describe_curves(means))


def _draw_costs(contents: Contents, styles: Styles) -> Iterator[StudyPicture]:
    """Yield the figures of the metric against time and against trainable parameters."""
    values = {each.arm: each.values for each in contents.ranked}
    means = {each.arm: each.summary.mean for each in contents.ranked}
    if not contents.costs or not values:
        return
    metric, label = contents.metric, _metric_label(contents)
    for name, title, quantity in (
        ("time", f"{metric} against time", "seconds"),
        ("parameters", f"{metric} against trainable parameters", "parameters"),
    ):
        figure = cost_figure(contents.costs, values, styles, label, quantity, contents.drawn_arms)
        items = []
        for each in sorted(contents.costs, key=lambda cost: [*means].index(cost.arm)):
            cost = (
                f"{format_amount(each.seconds, 1)} s"
                if quantity == "seconds"
                else format_thousands(each.mean_trainable_parameters)
            )
            items.append(
                f"{styles[each.arm].name}: {format_decimal(means[each.arm], contents.decimals.mean)} at {cost}"
            )
        yield StudyPicture(name, title, figure, list_items(items))


def _metric_label(contents: Contents) -> str:
    return f"{contents.metric} on {contents.study.spec.split} rows"

"""Figures of a search can be read: nothing covers its curves, and tick labels and numbers do not overlap."""

from __future__ import annotations

import itertools

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from research.report.rendering import embed_figure
from research.studies.grid import Trial
from research.studies.report.search_figures import budget_figure, trade_off_figure
from research.studies.search.results import SearchTrial, best_first


def make_trials(costs: list[float], metrics: list[float]) -> list[SearchTrial]:
    return [
        SearchTrial(Trial(f"trial-{index}", "a", 0, {}, {}), metric, cost, 60.0, None)
        for index, (cost, metric) in enumerate(zip(costs, metrics, strict=True))
    ]


def draw(trials: list[SearchTrial], *, higher_is_better: bool = True) -> Figure:
    front = best_first(trials, higher_is_better=higher_is_better)
    figure = trade_off_figure(trials, front, "accuracy", "trainable parameters", higher_is_better=higher_is_better)
    embed_figure("trade-offs", figure)  # computes the layout
    return figure


@pytest.mark.parametrize("values", [[0.9, 0.9, 0.6, 0.5], [0.5, 0.5, 0.5, 0.9]])
def test_legend_covers_no_curve(values: list[float]) -> None:
    figure = budget_figure(values, values, "loss", hours=0.1)
    embed_figure("budget", figure)  # computes the layout
    (legend,) = figure.legends
    assert all(axes.get_legend() is None for axes in figure.axes)
    assert all(not legend.get_window_extent().overlaps(axes.bbox) for axes in figure.axes)


@pytest.mark.parametrize("costs", [[100_000.0, 145_000.0], [21_000_000.0, 22_000_000.0], [384.0, 22_713_216.0]])
def test_tick_labels_have_thousands_separators_and_do_not_overlap(costs: list[float]) -> None:
    (axes,) = draw(make_trials(costs, [0.5, 0.7])).axes
    low, high = axes.get_xlim()
    labels: list[Text] = [
        label for tick, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True) if low <= tick <= high
    ]
    assert len(labels) >= 2
    assert any("," in label.get_text() for label in labels)
    boxes = [label.get_window_extent() for label in labels]
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_best_trade_offs_have_the_numbers_of_the_table(higher_is_better: bool) -> None:
    metrics = [0.5, 0.4, 0.7, 0.9] if higher_is_better else [0.5, 0.6, 0.3, 0.1]
    (axes,) = draw(make_trials([100.0, 150.0, 200.0, 300.0], metrics), higher_is_better=higher_is_better).axes
    positions = {text.get_text(): text.xy for text in axes.texts}  # type: ignore[attr-defined]
    assert positions == {"1": (300.0, metrics[3]), "2": (200.0, metrics[2]), "3": (100.0, metrics[0])}


def test_numbers_of_points_close_together_are_a_range() -> None:
    (axes,) = draw(make_trials([100.0, 101.0, 300.0], [0.50, 0.51, 0.9])).axes
    assert [text.get_text() for text in axes.texts] == ["2-3", "1"]

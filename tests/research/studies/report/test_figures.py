"""The figures of a study show the arms in their styles, with their names, and mark edits."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from research.records.palette import INK, PAPER
from research.report.rendering import embed_figure
from research.studies.grid import COMMON_PAST
from research.studies.report.costs import ArmCost, TrialCost
from research.studies.report.curves import ArmCurves, ArmEdit
from research.studies.report.figures import arm_curves_figure, cost_figure, intervals_figure
from research.studies.report.ranking import RankedArm
from research.studies.report.styles import PAST_STYLE, arm_styles
from research.studies.statistics.over_seeds import summarize_arm
from research.studies.units import Unit
from research.system.plain_text import for_figure

ARMS = [f"arm {number}" for number in range(10)]


def curves_of_one_seed(arms: list[str], steps: list[int], values: list[float]) -> list[ArmCurves]:
    """Return equal curves for all arms; the mean of each arm is the curve of its only seed."""
    return [ArmCurves(arm, seed_curves=[(steps, values)], mean=(steps, values)) for arm in arms]


def test_arm_names_do_not_overlap_if_curves_end_together() -> None:
    figure = arm_curves_figure(curves_of_one_seed(ARMS, [1, 2], [1.0, 0.5]), [], arm_styles(ARMS), "loss")
    embed_figure("loss", figure)  # computes the layout
    (axes,) = figure.axes
    names = [text for text in axes.texts if text.get_text() in ARMS]
    assert len(names) == 10
    boxes = sorted((text.get_window_extent() for text in names), key=lambda box: box.y0)
    # Boxes of neighbouring names may overlap by up to one pixel.
    assert all(below.y1 <= above.y0 + 1 for below, above in itertools.pairwise(boxes))
    canvas = figure.bbox
    assert all(canvas.y0 <= box.y0 and box.y1 <= canvas.y1 and box.x1 <= canvas.x1 for box in boxes)


def test_edit_of_a_single_arm_has_the_colour_of_the_arm() -> None:
    styles = arm_styles(ARMS)
    edits = [
        ArmEdit(number=1, step=1, request="freeze()", arms=[(ARMS[3], 2)]),  # in two trials of the arm
        ArmEdit(number=2, step=7, request="freeze()", arms=[(arm, 1) for arm in ARMS]),
    ]
    curves = curves_of_one_seed(ARMS, [1, 40], [1.0, 0.5])
    (axes,) = arm_curves_figure(curves, edits, styles, "loss").axes
    edit_marks = [
        (np.asarray(line.get_xdata())[0], line.get_color()) for line in axes.lines if line.get_linestyle() == ":"
    ]
    assert edit_marks == [(1.5, styles[ARMS[3]].colour), (7.5, INK)]  # halfway to the next step
    assert [text.get_text() for text in axes.texts][:2] == ["1", "2"]  # the numbers of the edits


@pytest.mark.parametrize("edit_step", [16, 20])
def test_name_of_the_common_past_does_not_overlap_the_number_of_an_edit(edit_step: int) -> None:
    past, arm = ([12, 20], [1.0, 1.0]), ([20, 40], [1.0, 0.5])
    curves = [ArmCurves(COMMON_PAST, [past], past), ArmCurves("arm 0", [arm], arm)]
    edits = [ArmEdit(number=1, step=edit_step, request="freeze()", arms=[("arm 0", 1)])]
    figure = arm_curves_figure(curves, edits, {**arm_styles(ARMS), COMMON_PAST: PAST_STYLE}, "loss")
    embed_figure("loss", figure)  # computes the layout
    boxes = {text.get_text(): text.get_window_extent() for text in figure.axes[0].texts}
    assert not boxes[COMMON_PAST].overlaps(boxes["1"])
    assert boxes[COMMON_PAST].y1 <= figure.bbox.y1


def test_spike_of_one_seed_is_clipped() -> None:
    steps = [1, 2, 3]
    curve_with_spike = ArmCurves("arm 0", seed_curves=[(steps, [1.0, 500.0, 0.5])], mean=(steps, [1.0, 0.9, 0.5]))
    (axes,) = arm_curves_figure([curve_with_spike], [], arm_styles(ARMS), "loss").axes
    assert axes.get_ylim()[1] < 1.3  # little more than the highest mean, 1.0


def test_undefined_values_are_skipped() -> None:
    defined = curves_of_one_seed(["arm 0"], [1, 2], [1.0, 0.5])
    undefined = curves_of_one_seed(["arm 1"], [1, 2], [math.nan, math.inf])
    figure = arm_curves_figure([*defined, *undefined], [], arm_styles(ARMS), "loss")
    assert embed_figure("loss", figure).source.startswith("data:image/svg+xml")
    assert [text.get_text() for text in figure.axes[0].texts] == ["arm 0"]


def test_intervals_figure_has_a_dot_for_each_seed() -> None:
    values: dict[str, dict[Unit, float]] = {
        "arm 0": {0: 0.5, 1: 0.7, 2: 0.6},
        "$x_{$": {0: 0.9},
        "arm 1": {0: math.nan},
    }
    ranked = [RankedArm(summarize_arm(arm, arm_values), None, arm_values) for arm, arm_values in values.items()]
    figure = intervals_figure(ranked, arm_styles(list(values)), "arm 0", "accuracy")
    (axes,) = figure.axes
    # Only dots of seeds have this size.
    dots = [np.asarray(line.get_xdata()).tolist() for line in axes.lines if line.get_markersize() == 3.5]
    assert dots == [[0.5, 0.7, 0.6], [0.9]]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["arm 0 (baseline)", for_figure("$x_{$")]
    assert embed_figure("means", figure).source.startswith("data:image/svg+xml")


def test_names_with_dollar_signs_are_not_read_as_formulas() -> None:
    names = ["$x_{$", "costs $5 or $6"]
    figure = arm_curves_figure(curves_of_one_seed(names, [1, 2], [1.0, 0.5]), [], arm_styles(names), "$y_{$")
    assert embed_figure("loss", figure).source.startswith("data:image/svg+xml")


@pytest.mark.parametrize(("longest", "scale"), [(5.0, "linear"), (50.0, "log")])
def test_arm_with_cached_hidden_states_has_a_hollow_marker_on_any_scale_of_time(longest: float, scale: str) -> None:
    def cost(seconds: float, *, is_cached: bool, parameters: int) -> TrialCost:
        return TrialCost(seconds, is_cached, trainable_parameters=parameters, mean_trainable_parameters=parameters)

    uncached = [cost(seconds, is_cached=False, parameters=10) for seconds in (1.0, longest)]
    costs = [
        ArmCost("arm 0", dict(enumerate(uncached))),
        ArmCost("arm 1", {0: cost(2.0, is_cached=True, parameters=20)}),
    ]
    values: dict[str, dict[Unit, float]] = {"arm 0": {0: 0.5, 1: 0.6}, "arm 1": {0: 0.7}}
    (axes,) = cost_figure(costs, values, arm_styles(ARMS), "accuracy", "seconds", ARMS).axes
    assert axes.get_xscale() == scale
    markers = [line for line in axes.lines if line.get_markersize() == 8]  # only means have this size
    assert [(np.asarray(line.get_xdata())[0], np.asarray(line.get_ydata())[0]) for line in markers] == [
        ((1 + longest) / 2, 0.55),
        (2.0, 0.7),
    ]
    assert [line.get_markerfacecolor() == PAPER for line in markers] == [False, True]
    (by_parameters,) = cost_figure(costs, values, arm_styles(ARMS), "accuracy", "parameters", ARMS).axes
    assert PAPER not in [line.get_markerfacecolor() for line in by_parameters.lines if line.get_markersize() == 8]

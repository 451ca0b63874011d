"""Figure of a timeline: curves of learning rates, bands for trained blocks, marks for edits, and a caption."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from research.edits.records import Record
from research.edits.rehearsal import StepPlan
from research.records.step_figures import MAX_LISTED
from research.runner.dry_run_figure import MAX_POINTS, timeline_figure


def spans_of(bands: Axes) -> list[tuple[float, float]]:
    """Return the start and end of each bar, in steps."""
    bars = [bar for bar in bands.patches if isinstance(bar, Rectangle)]
    return [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in bars]


def make_step(step: int, *, is_frozen: bool = False) -> StepPlan:
    """Return the plan of a step of a model with two blocks, of which layer.0 may be frozen."""
    trainable = ("head",) if is_frozen else ("layer.0", "head")
    return StepPlan(
        step=step,
        learning_rates={"layer.0": 0.1 / step, "head": 0.2 / step},
        trainable_parameters=10,
        trainable_blocks=trainable,
    )


def make_edit(number: int, step: int) -> Record:
    return Record(
        number=number,
        step=step,
        epoch=0.0,
        name="scale_lr",
        arguments={"factor": 0.5},
        requested_by="timeline entry 1",
        trainable_parameters=[2, 2],
        parameters=[2, 2],
    )


def test_timeline_figure_draws_curves_bands_and_marks() -> None:
    steps = [*(make_step(step, is_frozen=True) for step in (1, 2)), *(make_step(step) for step in (3, 4))]
    rates, bands, caption = timeline_figure(steps, [make_edit(1, step=2)]).axes
    curves = {line.get_label(): np.asarray(line.get_ydata()).tolist() for line in rates.lines[:2]}
    assert curves == {"layer.0": [0.1, 0.05, 0.1 / 3, 0.025], "head": [0.2, 0.1, 0.2 / 3, 0.05]}
    # The bars are the head, the frozen layer.0, and the trained layer.0.
    assert spans_of(bands) == [(0.5, 4.5), (0.5, 2.5), (2.5, 4.5)]
    colours = [bar.get_facecolor() for bar in bands.patches]
    assert (colours[0] == colours[2], colours[0] == colours[1]) == (True, False)
    assert [label.get_text() for label in bands.get_yticklabels()] == ["head", "layer.0"]
    assert [np.asarray(line.get_xdata())[0] for line in rates.lines[2:]] == [2.5]  # a vertical line marks the edit
    assert caption.texts[0].get_text() == "1: after step 2, scale_lr(factor=0.5)"


def test_timeline_figure_has_no_band_for_an_absent_block() -> None:
    steps = [
        make_step(1),
        StepPlan(step=2, learning_rates={"head": 0.1}, trainable_parameters=5, trainable_blocks=("head",)),
    ]
    rates, bands, _ = timeline_figure(steps, []).axes
    assert spans_of(bands) == [(0.5, 2.5), (0.5, 1.5)]
    (layer,) = (line for line in rates.lines if line.get_label() == "layer.0")
    assert np.isnan(np.asarray(layer.get_ydata())).tolist() == [False, True]


def test_timeline_figure_of_a_fork_begins_after_the_checkpoint() -> None:
    steps = [make_step(step) for step in range(1001, 1001 + 2 * MAX_POINTS)]
    rates, bands, _ = timeline_figure(steps, [make_edit(1, step=1101)]).axes
    assert bands.get_xlim() == (1000.5, 1000.5 + 2 * MAX_POINTS)
    assert {1101, 1102} <= set(np.asarray(rates.lines[0].get_xdata()).tolist())


def test_timeline_figure_samples_long_runs_but_keeps_steps_around_edits() -> None:
    edits = [make_edit(number, step=101 + number) for number in range(1, 26)]  # after steps 102 to 126
    rates, _, caption = timeline_figure([make_step(step) for step in range(1, 3 * MAX_POINTS)], edits).axes
    drawn = set(np.asarray(rates.lines[0].get_xdata()).tolist())
    assert len(drawn) < 1.1 * MAX_POINTS  # the sampled steps, and a few around the edits
    assert {*range(102, 128), 3 * MAX_POINTS - 1} <= drawn  # the steps around the edits, and the last step
    lines = caption.texts[0].get_text().splitlines()
    assert (len(lines), lines[-1]) == (MAX_LISTED + 1, f"and {len(edits) - MAX_LISTED} more")

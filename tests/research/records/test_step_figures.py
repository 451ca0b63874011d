"""Figures over the steps of a run, in which edits are marked."""

from __future__ import annotations

import numpy as np
import pytest

from research.edits.records import Record
from research.records.step_figures import MAX_POINTS, curves_figure, loss_figure, rates_figure


def edit_record(number: int, step: int) -> Record:
    return Record(
        number=number,
        step=step,
        epoch=step / 10,
        name="scale_lr",
        arguments={"factor": 0.5},
        requested_by="Python",
        trainable_parameters=[1, 1],
        parameters=[1, 1],
    )


def test_edits_are_marked_after_their_step() -> None:
    edits = [edit_record(1, step=1), edit_record(2, step=2)]
    figure = loss_figure(training=([1, 2, 3], [3.0, 2.0, 1.0]), validation=([3], [1.5]), edits=edits, num_steps=3)
    (axes,) = figure.axes
    marked_positions = [np.asarray(line.get_xdata())[0] for line in axes.lines if line.get_linestyle() == ":"]
    assert marked_positions == [1.5, 2.5]
    assert [(text.get_text(), text.get_position()[0]) for text in axes.texts] == [("1", 1.5), ("2", 2.5)]
    assert {line.get_label() for line in axes.lines} >= {"training", "validation"}


def test_numbers_of_neighbouring_edits_are_joined() -> None:
    edits = [edit_record(number, step) for number, step in enumerate((10, 10, 12, 500), start=1)]
    (axes,) = curves_figure({"x": ([1, 1000], [0.0, 1.0])}, label="x", edits=edits, num_steps=1000).axes
    assert [text.get_text() for text in axes.texts] == ["1-3", "4"]


def test_long_curves_are_drawn_as_means_of_neighbouring_points() -> None:
    steps = list(range(1, 2 * MAX_POINTS + 1))
    curve = (steps, [float(step) for step in steps])
    (axes,) = curves_figure({"x": curve}, label="x", edits=[], num_steps=len(steps)).axes
    assert len(np.asarray(axes.lines[0].get_xdata())) == MAX_POINTS
    assert np.asarray(axes.lines[0].get_ydata())[0] == 1.5  # the mean of 1 and 2


def test_nonfinite_values_do_not_affect_the_vertical_axis() -> None:
    training = ([1, 2, 3], [1.0, float("nan"), float("inf")])
    (axes,) = loss_figure(training, validation=([], []), edits=[], num_steps=3).axes
    assert axes.get_ylim()[0] < 1.0 < axes.get_ylim()[1] < 2


@pytest.mark.parametrize("blocks", [["head", "embeddings"], ["layer.10", "head", "layer.2", "rest", "embeddings"]])
def test_rates_figure_lists_blocks_in_the_order_of_the_model(blocks: list[str]) -> None:
    (axes,) = rates_figure({block: ([1, 2], [1e-3, 1e-4]) for block in blocks}, edits=[], num_steps=2).axes
    order = ["embeddings", "layer.2", "layer.10", "rest", "head"]
    assert [line.get_label() for line in axes.lines] == [block for block in order if block in blocks]

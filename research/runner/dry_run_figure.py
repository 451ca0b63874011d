"""Figure of a timeline: learning rates over steps, bands for trained blocks, marks for edits."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from research.edits.records import Record
from research.edits.rehearsal import StepPlan
from research.records.palette import block_colours
from research.records.step_figures import (
    describe_edits,
    mark_edits,
    position_in_model,
    show_rates_logarithmically,
)

MAX_POINTS = 2000
"""Number of points to which longer curves are sampled. The steps around every edit are drawn in addition."""
MAX_EDIT_CHARACTERS = 300
"""Maximum number of characters of an edit in the caption."""


def timeline_figure(steps: Sequence[StepPlan], edits: Sequence[Record]) -> Figure:
    """Return a figure of the plan of a run.

    Args:
        steps: all steps; those of a fork begin after its parent's checkpoint.
        edits: all edits at known steps.
    """
    blocks = sorted({block for step in steps for block in step.learning_rates}, key=position_in_model)
    listed = describe_edits(edits, MAX_EDIT_CHARACTERS)
    heights = (3.2, 0.24 * len(blocks) + 0.3, 0.19 * len(listed) + 0.1)  # in inches
    figure = Figure(figsize=(10, sum(heights) + 0.9), layout="constrained")
    rates, bands, caption = figure.subplots(3, 1, height_ratios=heights)
    rates.sharex(bands)
    stride = -(-len(steps) // MAX_POINTS)  # rounded up
    # The last step before each edit and the first step after it.
    near_edits = {step for record in edits for step in (record.step, record.step + 1)}
    drawn = [
        step
        for index, step in enumerate(steps)
        if index % stride == 0 or step.step in near_edits or index == len(steps) - 1
    ]
    for block, colour in block_colours(blocks).items():
        curve = [step.learning_rates.get(block, float("nan")) for step in drawn]
        rates.plot([step.step for step in drawn], curve, color=colour, label=block, linewidth=1.4)
    rates.set_ylabel("learning rate")
    show_rates_logarithmically(rates, max(max(step.learning_rates.values()) for step in steps))
    rates.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    rates.tick_params(labelbottom=False)
    for row, block in enumerate(reversed(blocks)):
        for start, end, trains in _spans(steps, block):
            bands.barh(row, end - start, left=start, height=0.8, color="#2a9d8f" if trains else "#d9d9d9")
    bands.set_yticks(range(len(blocks)), list(reversed(blocks)), fontsize=8)
    bands.set_xlabel("step (green: trains, grey: frozen)")
    bands.set_xlim(steps[0].step - 0.5, steps[-1].step + 0.5)
    mark_edits([rates, bands], edits, len(steps))
    caption.axis("off")
    caption.text(0, 1, "\n".join(listed), va="top", fontsize=8, transform=caption.transAxes, wrap=True)
    return figure


def _spans(steps: Sequence[StepPlan], block: str) -> list[tuple[float, float, bool]]:
    """Return the spans of steps in which a block exists, each as (start, end, whether the block trains)."""
    spans: list[tuple[float, float, bool]] = []
    for step in steps:
        if block not in step.learning_rates:
            continue
        trains = block in step.trainable_blocks
        if spans and spans[-1][2] == trains and spans[-1][1] == step.step - 0.5:
            spans[-1] = (spans[-1][0], step.step + 0.5, trains)
        else:
            spans.append((step.step - 0.5, step.step + 0.5, trains))
    return spans

"""Whether edits that a condition asks for can be applied beside what is planned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from research.edits.base import EditError
from research.edits.records import EditRequest, Parent
from research.edits.rehearsal import Rehearsal
from research.system.errors import one_line

if TYPE_CHECKING:
    from research.training.api import Run


def conflict_of(
    run: Run, pending: Sequence[EditRequest], requests: Sequence[EditRequest], planned: Sequence[Sequence[EditRequest]]
) -> str | None:
    """Return why edits cannot be applied at a run's next boundary, or planned ones after them; None if they can.

    Args:
        run: the run; its edits so far are rehearsed, and those that were asked for since the last boundary.
        pending: the edits that were asked for since the last boundary.
        requests: the edits in question.
        planned: the edits of each later boundary.
    """
    clock = replace(run.clock, step=0, epoch=0, step_in_epoch=0, num_examples_seen=0)
    rehearsal = Rehearsal.of(run.config, run.task, run.objective, run.collator, clock, run.tokenizer)
    try:
        # An edit that a hook asked for was never rehearsed before, and may read values.
        rehearsal.follow(Parent(str(run.directory), run.clock.step, tuple(run.journal)))
        rehearsal.apply(pending)
    except EditError as error:
        return f"it cannot be checked after the edits so far: {one_line(error)}"
    try:
        rehearsal.apply(requests)
        rehearsal.apply_all(planned)
    except EditError as error:
        return one_line(error)
    return None

"""Check whether edits whose condition has come true can be applied together with the planned edits."""

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


def find_conflict(
    run: Run, pending: Sequence[EditRequest], requests: Sequence[EditRequest], planned: Sequence[Sequence[EditRequest]]
) -> str | None:
    """Return why edits cannot be applied at the next boundary, or why planned edits would fail after them.

    The edits in the journal and the pending edits are rehearsed first.

    Args:
        run: the run.
        pending: the edits requested since the last boundary.
        requests: the edits to check.
        planned: the planned edits of each later boundary.
    Returns:
        The reason; None if all edits can be applied.
    """
    # The rehearsal starts before the first step, where the journal starts too.
    clock = replace(run.clock, step=0, epoch=0, step_in_epoch=0, num_examples_seen=0)
    rehearsal = Rehearsal.of(run.config, run.task, run.objective, run.collator, clock, run.tokenizer)
    try:
        # The journal is rehearsed as if this run were forked now. Edits requested by hooks were never rehearsed, and
        # fail here if they read the values of weights.
        rehearsal.replay_journal(Parent(str(run.directory), run.clock.step, tuple(run.journal)))
        rehearsal.apply(pending)
    except EditError as error:
        return f"the edit cannot be checked, because the earlier edits cannot be rehearsed: {one_line(error)}"
    try:
        rehearsal.apply(requests)
        rehearsal.apply_all(planned)
    except EditError as error:
        return one_line(error)
    return None

"""The heads that a run may have: its first head, and the heads with which its timeline may replace it."""

from __future__ import annotations

import copy
from contextlib import suppress

from research.edits.base import EditError
from research.edits.rehearsal import Rehearsal
from research.edits.timeline import Timeline
from research.model.head_check import PlannedHead


def find_planned_heads(rehearsal: Rehearsal, timeline: Timeline) -> list[PlannedHead]:
    """Return the head at the start, after each step with planned edits, and after each conditional entry.

    Conditional entries that can be applied neither at the start nor at the end are left out.

    Hooks may request further heads during training.

    Args:
        rehearsal: the run's rehearsal before its first step (for a fork: at its start), which is not changed.
        timeline: the planned edits.
    """
    rehearsed = copy.deepcopy(rehearsal)
    first_step = rehearsed.clock.step
    rehearsed.apply(timeline.due.get(first_step, ()))
    at_start = copy.deepcopy(rehearsed)
    heads = [PlannedHead.of(rehearsed.encoder_with_head)]
    for step, requests in timeline.due.items():
        if step > first_step:
            rehearsed.clock.set_step(step)
            rehearsed.apply(requests)
            heads.append(PlannedHead.of(rehearsed.encoder_with_head))
    for entry in timeline.conditional:
        for state in (at_start, rehearsed):  # an entry that cannot be applied at the start may be applicable at the end
            edited = copy.deepcopy(state)
            with suppress(EditError):
                edited.apply(entry.requests)
                heads.append(PlannedHead.of(edited.encoder_with_head))
                break
    return heads

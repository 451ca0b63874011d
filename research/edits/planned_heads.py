"""The heads that a run will have: its first head, and the heads with which its timeline replaces that one."""

from __future__ import annotations

import copy
from contextlib import suppress

from research.edits.base import EditError
from research.edits.rehearsal import Rehearsal
from research.edits.timeline import Timeline
from research.model.head_check import PlannedHead


def find_planned_heads(rehearsal: Rehearsal, timeline: Timeline) -> list[PlannedHead]:
    """Return each head that a run will have, and which parts of it train. Hooks may request further heads later.

    Args:
        rehearsal: the run's rehearsal before its first step (for a fork: at its start), which is not changed.
        timeline: the planned edits.
    """
    run = copy.deepcopy(rehearsal)
    first_step = run.clock.step
    run.apply(timeline.due.get(first_step, ()))
    at_start = copy.deepcopy(run)
    heads = [PlannedHead.of(run.encoder_with_head)]
    for step, requests in timeline.due.items():
        if step > first_step:
            run.clock.set_step(step)
            run.apply(requests)
            heads.append(PlannedHead.of(run.encoder_with_head))
    for entry in timeline.conditional:
        for state in (at_start, run):  # the condition may come true at any time
            edited = copy.deepcopy(state)
            with suppress(EditError):
                edited.apply(entry.requests)
                heads.append(PlannedHead.of(edited.encoder_with_head))
                break
    return heads

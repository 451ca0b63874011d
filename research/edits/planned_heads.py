"""The heads that a run will have: the first one, and those with which its timeline replaces it."""

from __future__ import annotations

import copy
from contextlib import suppress

from research.edits.base import EditError
from research.edits.rehearsal import Rehearsal
from research.edits.timeline import Timeline
from research.model.head_check import PlannedHead


def planned_heads(rehearsal: Rehearsal, timeline: Timeline) -> list[PlannedHead]:
    """Return each head of a run and which parts of it train. Hooks may request further heads during the run.

    Args:
        rehearsal: the run's rehearsal before its first step (for a fork: at its start); it is not changed.
        timeline: the planned edits.
    """
    run = copy.deepcopy(rehearsal)
    first = run.clock.step
    run.apply(timeline.due.get(first, ()))
    at_start = copy.deepcopy(run)
    found = [PlannedHead.of(run.encoder_with_head)]
    for step, requests in timeline.due.items():
        if step > first:
            run.clock.set_step(step)
            run.apply(requests)
            found.append(PlannedHead.of(run.encoder_with_head))
    for entry in timeline.conditional:
        for each in (at_start, run):  # the condition may come true at any time
            later = copy.deepcopy(each)
            with suppress(EditError):
                later.apply(entry.requests)
                found.append(PlannedHead.of(later.encoder_with_head))
                break
    return found

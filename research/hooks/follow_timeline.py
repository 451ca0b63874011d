"""Request the edits of a timeline when they are due."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from research.edits.timeline import Timeline, list_edits
from research.training.hook import Hook

if TYPE_CHECKING:
    from research.training.api import Run


class FollowTimeline(Hook):
    """Request the edits of a timeline when they are due.

    Args:
        timeline: the timeline.
    """

    def __init__(self, timeline: Timeline) -> None:
        self.due = timeline.due  # requests by step
        # Copied, because the conditions change: they store the values that they have observed.
        self.conditional = [replace(entry, when=replace(entry.when)) for entry in timeline.conditional if entry.when]

    def on_train_start(self, run: Run) -> None:
        """Request the edits that are due before the first step."""
        self._request_due(run)

    def on_resume(self, run: Run) -> None:
        """Reset conditions whose metrics are not comparable; in a fork, request the edits due at its start."""
        if run.inputs_differ:
            self._reset_conditions(*(entry.when.metric for entry in self.conditional if entry.when))
        elif run.objective_differs:
            self._reset_conditions("loss")
        if run.start is not None and run.start.is_fork:
            self._request_due(run)

    def after_step(self, run: Run) -> None:
        """Request the edits that are due after this step."""
        self._request_due(run)

    def after_evaluate(self, run: Run, split: str, metrics: dict[str, float]) -> None:
        """Request the edits of conditions that have come true."""
        if split != "validation" or run.is_over:
            return
        for entry in self.conditional:
            assert entry.when is not None
            if entry.when.observe(metrics):
                if entry.on_conflict == "skip":  # in a conflict with pending edits, or with those due in later steps
                    later_requests = [requests for step, requests in self.due.items() if step > run.clock.step]
                    run.request_edits_or_skip(entry.requests, later_requests)
                else:
                    run.request_edits(entry.requests)

    def after_edits(self, run: Run) -> None:
        """Reset conditions on the loss when losses are no longer comparable."""
        if run.has_new_objective:
            self._reset_conditions("loss")

    def on_train_end(self, run: Run) -> None:
        """Report edits that were never due."""
        for step, requests in self.due.items():
            if step > run.clock.step:
                end = f"The run ended after step {run.clock.step:,}"
                run.print(f"{end}, so the edits due after step {step:,} were not applied: {list_edits(requests)}.")
        for entry in self.conditional:
            assert entry.when is not None
            if not entry.when.has_come_true:
                run.print(f"{entry.when} never came true, so its edits were not applied: {list_edits(entry.requests)}.")

    def _reset_conditions(self, *metrics: str) -> None:
        """Delete the values that conditions on these metrics have observed."""
        for entry in self.conditional:
            assert entry.when is not None
            if entry.when.metric in metrics:
                entry.when.values.clear()

    def _request_due(self, run: Run) -> None:
        run.request_edits(self.due.get(run.clock.step, ()))

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the conditions."""
        return {"conditions": [[entry.identity, entry.when.state_dict()] for entry in self.conditional if entry.when]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of the conditions. Conditions that a fork adds start without a state."""
        saved = dict(state["conditions"])
        for entry in self.conditional:
            if entry.when is not None and entry.identity in saved:
                entry.when.load_state_dict(saved[entry.identity])

"""Edits that are asked for between two boundaries, and who asks for them."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence

from research.edits.base import EditError, EditProxy
from research.edits.records import EditRequest
from research.system.messages import logger

NO_EDITS_FROM = ("after_edits", "end_of_step", "on_train_end", "on_exception")
"""Points after which no boundary comes before the next checkpoint, or none at all."""


class EditRequests:
    """What was asked for since the last boundary."""

    def __init__(self) -> None:
        self.edit = EditProxy(lambda request: self.request_edits([request]), lambda: self.asked_by)
        """Asks for edits by name: `edit.unfreeze("encoder.layer[-2:]")`."""
        self.takes_edits = True
        """Whether a boundary is still to come, at which edits could be applied."""
        self.asked_by = "Python"
        """Who is asking now: a hook, or code outside of all hooks."""
        self.point: str | None = None
        """The hook's point that is being called; None between the points."""
        self._closed: str | None = None
        self._pending: list[EditRequest] = []

    @property
    def asker_number(self) -> int:
        """A number made of who is asking and the point, the same on every process."""
        return int.from_bytes(hashlib.sha256(f"{self.asked_by} {self.point}".encode()).digest()[:4], "big")

    @property
    def pending(self) -> Sequence[EditRequest]:
        """The edits that were asked for since the last boundary."""
        return tuple(self._pending)

    def request_edits(self, requests: Sequence[EditRequest]) -> None:
        """Ask for edits at the next boundary.

        Raises:
            EditError: at a point after which no boundary comes before the next checkpoint, or none at all.
        """
        for request in requests:
            if self._closed is not None:
                raise EditError(
                    f"{request} was asked for in {self._closed} (by {request.asked_by}), where no edit may be: a "
                    "checkpoint would miss it. Ask, or evaluate, in after_step instead."
                )
            if not self.takes_edits:  # the last evaluations
                logger.info(f"The run is over: {request}, asked for by {request.asked_by}, is not applied.")
                continue
            self._pending.append(request)

    def take(self) -> list[EditRequest]:
        """Return the edits that were asked for since the last boundary, and forget them."""
        requests, self._pending = self._pending, []
        return requests

    @contextlib.contextmanager
    def asking_for(self, asked_by: str, point: str) -> Iterator[None]:
        """Know who asks for edits inside, and at which point."""
        before = self.asked_by, self.point, self._closed
        self.asked_by, self.point = asked_by, point
        if self._closed is None and point in NO_EDITS_FROM:  # also for an evaluation that begins there
            self._closed = point
        try:
            yield
        finally:
            self.asked_by, self.point, self._closed = before

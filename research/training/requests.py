"""Edits that are requested between two boundaries, and the hooks that request them."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence

from research.edits.base import EditError, EditProxy
from research.edits.records import EditRequest
from research.system.messages import logger

POINTS_WITHOUT_EDITS = ("after_edits", "end_of_step", "on_train_end", "on_exception")
"""Points at which edits cannot be requested: a checkpoint or the end of the run comes before the next boundary, where
edits are applied."""


class EditRequests:
    """The edits requested since the last boundary."""

    def __init__(self) -> None:
        self.edit = EditProxy(lambda request: self.request_edits([request]), lambda: self.requested_by)
        """Requests edits by name: `edit.unfreeze("encoder.layer[-2:]")`."""
        self.takes_edits = True
        """Whether another boundary follows at which edits can be applied."""
        self.requested_by = "Python"
        """Who requests edits at present: the hook that is being called, or "Python" for code outside hooks."""
        self.point: str | None = None
        """The point that is being called; None outside a hook."""
        self._closed_by: str | None = None  # the point of POINTS_WITHOUT_EDITS in which the current call started
        self._pending: list[EditRequest] = []

    @property
    def caller_hash(self) -> int:
        """A hash of the hook and the point that are being called, the same on every process."""
        return int.from_bytes(hashlib.sha256(f"{self.requested_by} {self.point}".encode()).digest()[:4], "big")

    @property
    def pending(self) -> Sequence[EditRequest]:
        """The edits requested since the last boundary."""
        return tuple(self._pending)

    def request_edits(self, requests: Sequence[EditRequest]) -> None:
        """Request edits for the next boundary; drop them with a message if training is over.

        Raises:
            EditError: at a point of POINTS_WITHOUT_EDITS, or in an evaluation started there.
        """
        for request in requests:
            if self._closed_by is not None:
                raise EditError(
                    f"{request} was requested in {self._closed_by} (by {request.requested_by}), where edits are not "
                    "allowed: a checkpoint would miss it. Request edits, or evaluate, in after_step instead."
                )
            if not self.takes_edits:  # in the final evaluations
                logger.info(f"The run is over: {request}, requested by {request.requested_by}, is not applied.")
                continue
            self._pending.append(request)

    def take(self) -> list[EditRequest]:
        """Return the edits requested since the last boundary, and clear the list."""
        requests, self._pending = self._pending, []
        return requests

    @contextlib.contextmanager
    def calling(self, requested_by: str, point: str) -> Iterator[None]:
        """Return a context in which requests are attributed to a hook and the point that is being called."""
        before = self.requested_by, self.point, self._closed_by
        self.requested_by, self.point = requested_by, point
        # An evaluation that starts at such a point calls more points. Edits cannot be requested at those points either.
        if self._closed_by is None and point in POINTS_WITHOUT_EDITS:
            self._closed_by = point
        try:
            yield
        finally:
            self.requested_by, self.point, self._closed_by = before

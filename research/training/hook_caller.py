"""Call the hooks of a run at every point."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from research.data.batches.batch import Batch
from research.system.errors import describe_failure
from research.system.messages import KEEP_LINE_BREAKS, logger
from research.training.hook import Hook, check_batch, errors_attributed_to_hook

if TYPE_CHECKING:
    from research.training.run import TrainingRun


class HookCaller:
    """Calls the hooks in order. During a call, requested edits and errors are attributed to the hook.

    Args:
        hooks: the hooks, in the order in which they are called at every point.
    """

    def __init__(self, hooks: Sequence[Hook] = ()) -> None:
        self._hooks = tuple(hooks)
        self.resumed: list[Hook] = []
        """Hooks whose state was loaded from a checkpoint."""

    def __iter__(self) -> Iterator[Hook]:
        return iter(self._hooks)

    def call(self, run: TrainingRun, point: str, *arguments: Any) -> None:
        """Call a point of every hook."""
        for hook in self._hooks:
            self._call(run, hook, point, *arguments)

    def begin(self, run: TrainingRun) -> None:
        """Call on_resume of hooks whose state was loaded from a checkpoint, and on_train_start of all other hooks."""
        for hook in self._hooks:
            self._call(run, hook, "on_resume" if hook in self.resumed else "on_train_start")

    def notify_exception(self, run: TrainingRun, error: BaseException) -> None:
        """Call on_exception of every hook with the error that ended the run. An error in a hook becomes a warning."""
        for hook in self._hooks:
            try:
                self._call(run, hook, "on_exception", error)
            except Exception as secondary:
                logger.warning(describe_failure(secondary), extra=KEEP_LINE_BREAKS)

    def change_batch(self, run: TrainingRun, batch: Batch) -> Batch:
        """Return the batch as changed by the on_batch of every hook.

        Raises:
            ValueError: if a hook returns anything but a batch, or a batch with a different number of rows.
        """
        for hook in self._hooks:
            with _calling(run, hook, "on_batch"):
                changed = hook.on_batch(run, batch)
            if changed is not None:
                check_batch(hook, changed, batch)
                batch = changed
        return batch

    def _call(self, run: TrainingRun, hook: Hook, point: str, *arguments: Any) -> None:
        with _calling(run, hook, point):
            getattr(hook, point)(run, *arguments)


@contextlib.contextmanager
def _calling(run: TrainingRun, hook: Hook, point: str) -> Iterator[None]:
    with run.requests.calling(f"hook {type(hook).__name__}", point), errors_attributed_to_hook(hook, point):
        yield

"""Files in the run directory that belong to the state of hooks: checkpoints keep them, resumed runs restore them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from research.system import durable
from research.training.checkpoint.state import KEPT

if TYPE_CHECKING:
    from research.training.hook import Hook
    from research.training.run import TrainingRun


def restore_kept_files(run: TrainingRun) -> None:
    """Restore the hooks' kept files from the checkpoint into the run directory; called on the main process.

    Existing versions, written after the checkpoint, are deleted. A run that continues no checkpoint deletes them too.
    """
    for name in kept_files(run.hooks):
        own = run.directory / name
        kept = None if run.start is None else run.start.checkpoint / KEPT / name
        with durable.reporting_failure(own, needed=kept.stat().st_size if kept is not None and kept.is_file() else 0):
            durable.remove(own)
            if kept is not None and kept.exists():
                durable.copy(kept, own)


def kept_files(hooks: Iterable[Hook]) -> list[str]:
    """Return the names of all files and folders that belong to the state of hooks."""
    return [name for hook in hooks for name in hook.kept_files]

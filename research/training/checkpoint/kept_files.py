"""Files in the run directory that belong to the state of hooks. Checkpoints keep copies; resumed runs restore them."""

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

    Existing versions in the run directory are deleted first: they were written after the checkpoint or, if the run
    continues no checkpoint, by an earlier run.
    """
    for name in kept_files(run.hooks):
        target = run.directory / name
        copy = None if run.start is None else run.start.checkpoint / KEPT / name
        with durable.converting_write_errors(target, needed=copy.stat().st_size if copy and copy.is_file() else 0):
            durable.remove(target)
            if copy is not None and copy.exists():
                durable.copy(copy, target)


def kept_files(hooks: Iterable[Hook]) -> list[str]:
    """Return the names of all files and folders that belong to the state of hooks."""
    return [name for hook in hooks for name in hook.kept_files]

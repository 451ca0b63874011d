"""Files of the run directory that hooks keep: checkpoints hold them, and a resumed run finds them as they were."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from research.system import durable
from research.training.checkpoint.state import KEPT

if TYPE_CHECKING:
    from research.training.hook import Hook
    from research.training.run import TrainingRun


def restore_kept_files(run: TrainingRun) -> None:
    """Put files that hooks keep into the run directory as the checkpoint has them; called on the main process.

    What the run wrote after the checkpoint goes, and what a run without a checkpoint finds there.
    """
    for name in kept_files(run.hooks):
        own = run.directory / name
        kept = None if run.start is None else run.start.checkpoint / KEPT / name
        with durable.reporting_failure(own, needed=kept.stat().st_size if kept is not None and kept.is_file() else 0):
            durable.remove(own)
            if kept is not None and kept.exists():
                durable.copy(kept, own)


def kept_files(hooks: Iterable[Hook]) -> list[str]:
    """Return the names of all files and folders that hooks keep."""
    return [name for hook in hooks for name in hook.kept_files]

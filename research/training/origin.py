"""The checkpoint or run that a run continues."""

from __future__ import annotations

from dataclasses import dataclass

from research.edits.records import Parent
from research.training.checkpoint.find import StartCheckpoint


@dataclass
class Origin:
    """The origin of a run: none (a new run), one of its own checkpoints (a resumed run), or its parent (a fork)."""

    start: StartCheckpoint | None = None
    """The checkpoint that the run continues; None if it continues none."""
    parent: Parent | None = None
    """The run that this run is a fork of; None if it is not a fork."""
    objective_differs: bool = False
    """Whether the run is a fork whose objective differs from its parent's. If so, losses from before its first step are
    not comparable with later ones."""
    inputs_differ: bool = False
    """Whether the run is a fork that truncates texts, or cuts them into windows, differently from its parent. If so, no
    metric from before its first step is comparable with later ones."""
    features_digest: str | None = None
    """Hash of the stored hidden states that the checkpoint's run trained on; None if that run used none."""

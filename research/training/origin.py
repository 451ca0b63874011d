"""The checkpoint or run that a run continues."""

from __future__ import annotations

from dataclasses import dataclass

from research.edits.records import Parent
from research.training.checkpoint.find import StartCheckpoint


@dataclass
class Origin:
    """The origin of a run: none, one of its own checkpoints, or a checkpoint of the run that it is a fork of."""

    start: StartCheckpoint | None = None
    """The checkpoint that the run continues; None if it continues none."""
    parent: Parent | None = None
    """The run that this run is a fork of; None if it is not a fork."""
    objective_differs: bool = False
    """Whether the run is a fork with another objective than its parent: losses from before its first step are not
    comparable with later ones."""
    inputs_differ: bool = False
    """Whether the run is a fork whose evaluations read more or less of each row than its parent's: no earlier metric
    is comparable with later ones."""
    features_digest: str | None = None
    """Hash of the stored hidden states that the checkpoint's run trained on; None if it did not use any."""

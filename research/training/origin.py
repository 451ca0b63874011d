"""What a run begins with."""

from __future__ import annotations

from dataclasses import dataclass

from research.edits.records import Parent
from research.training.checkpoint.find import Start


@dataclass
class Origin:
    """Where a run comes from: from nothing, from a checkpoint of its own, or from one of the run that it forks."""

    start: Start | None = None
    """The checkpoint that it continues."""
    parent: Parent | None = None
    """The run that it is a fork of."""
    objective_differs: bool = False
    """Whether it is a fork whose objective is not its parent's: losses before its first step do not compare."""
    inputs_differ: bool = False
    """Whether it is a fork whose evaluations read more or less of each row: no metric from before compares."""
    features_digest: str | None = None
    """Hash of the stored hidden states that the checkpoint's run trained on, where it did."""

"""Which trials a study has: every combination of some settings' values, each one run with an id made of its settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class StudySpec:
    """What a study compares; a YAML file has the same keys."""

    name: str
    """Name of the study; its directory is runs/<name>."""
    about: str = ""
    """What it asks, in a sentence."""
    base: dict[str, Any] = field(default_factory=dict)
    """Settings of all trials, as in a recipe."""
    arms: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Bundles of settings by name: an axis of its own, called `arm`."""
    grid: dict[str, list[Any]] = field(default_factory=dict)
    """Values of each setting that varies, `seed` among them."""
    exclude: list[dict[str, Any]] = field(default_factory=list)
    """Combinations that are left out: those that have all of an entry's values."""
    override: list[dict[str, Any]] = field(default_factory=list)
    """Settings of some arms: {when: {head: lstm}, set: {lr: 1e-4}}."""
    baseline: str | None = None
    """The arm that the others are compared with; by default the first."""
    metric: str | None = None
    """Metric that is compared; by default accuracy, subset_accuracy or pearson, by the kind of labels."""
    split: Literal["test", "validation"] = "test"
    """Rows that it is measured on."""


@dataclass(frozen=True)
class Trial:
    """One run of a study."""

    id: str
    """Made of its settings; the name of its run directory."""
    arm: str
    """What it shares with the trials that differ in nothing but the seed, in words."""
    seed: int
    """Its seed."""
    axes: dict[str, Any] = field(hash=False)
    """Its value on each axis of the grid, the seed's included."""
    settings: dict[str, Any] = field(hash=False)
    """Every setting of run.py but those of its place."""

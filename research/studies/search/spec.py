"""The section `search` of a study: its space, its budget, and how trials are chosen and ended early."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from heads.registry import UnknownNameError, describe_unknown
from research.settings.config import Choice
from research.studies.search.space import Dimension, parse_space

CONFIRMATION = "confirm"
"""Subdirectory of a search's directory with the study that confirms it."""
RESULT_KEYS = {"seconds": "train_seconds", "trainable_parameters": "trainable_parameters"}
"""What a search can minimize in addition to its metric, and its key in result.json."""
OBJECTIVE_NAMES = {"seconds": "training seconds", "trainable_parameters": "trainable parameters"}
"""Names of what a search can minimize, for readers."""


@dataclass(frozen=True, kw_only=True)
class SearchSpec:
    """Specification of a search; the section `search` of a study file has the same keys."""

    space: dict[str, Any]
    """Values of each searched setting: a range such as 1e-6..1e-3:log, or a list."""
    trials: int | None = None
    """Number of trials to start; None for no limit."""
    hours: float | None = None
    """No trial is started after all trials together have taken this many hours; None for no limit."""
    sampler: str | dict[str, Any] = "tpe"
    """Sampler that chooses the settings of each trial, by name or with its options."""
    pruner: str | dict[str, Any] | None = None
    """Pruner that ends trials early, by name or with its options; None for none."""
    seed: int = 0
    """Seed of the sampler."""
    points: list[dict[str, Any]] = field(default_factory=list)
    """Values to try first. The sampler chooses those of settings that a point leaves out."""
    warm_start: list[str] = field(default_factory=list)
    """Directories of earlier studies, whose results inform the sampler."""
    minimize: str | None = None
    """A second objective, which makes the search look for the best trade-offs."""

    def __post_init__(self) -> None:
        for name, expected in _TYPES.items():
            value = getattr(self, name)
            is_optional = value is None and name in ("trials", "hours", "pruner", "minimize")
            if isinstance(value, bool) or not (isinstance(value, expected) or is_optional):
                kinds = " or ".join(kind.__name__ for kind in expected)
                raise ValueError(f"Expected the search's {name} to be of type {kinds}; got {value!r}.")
        if self.trials is None and self.hours is None:
            raise ValueError("A search needs a budget: --trials 40, --hours 2, or both.")
        for name in ("trials", "hours"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"Expected the search's {name} to be above 0, got {value}.")
        dimensions = self.dimensions
        for point in self.points:
            if not isinstance(point, Mapping):
                raise ValueError(f"Expected a point of the search such as {{lr: 3e-5, head: linear}}, got {point!r}.")
            for name in point:
                if name not in dimensions:
                    raise UnknownNameError(
                        describe_unknown("setting in a point of the search", str(name), dimensions, listed_as="Space")
                    )
        for source in self.warm_start:
            if not isinstance(source, str):
                raise ValueError(f"Expected the directories of studies in the search's warm_start, got {source!r}.")
        if self.minimize is not None and self.minimize not in RESULT_KEYS:
            raise UnknownNameError(describe_unknown("objective to minimize", self.minimize, RESULT_KEYS))
        if self.minimize is not None and self.pruner_choice is not None:
            raise ValueError("A search with two objectives cannot end trials early. Omit --pruner or --minimize.")
        if self.minimize is not None and self.warm_start:
            raise ValueError("A search with two objectives cannot start from earlier results. Omit --warm_start.")
        if self.minimize is not None and self.sampler_choice.name == "cmaes":
            raise ValueError("The sampler cmaes cannot look for two objectives. Omit --minimize, or use nsgaii.")

    @property
    def dimensions(self) -> dict[str, Dimension]:
        """Return the parsed space, without the types of options."""
        return parse_space(self.space)

    @property
    def sampler_choice(self) -> Choice:
        """Return the sampler with its options."""
        return Choice.of(self.sampler, "sampler")

    @property
    def pruner_choice(self) -> Choice | None:
        """Return the pruner with its options; None if there is none."""
        return None if self.pruner in (None, "none") else Choice.of(typing.cast("Any", self.pruner), "pruner")

    def describe_budget(self) -> str:
        """Describe the budget, such as "40 trials or 2 hours"."""
        parts = [] if self.trials is None else [f"{self.trials:,} trial{'s' * (self.trials != 1)}"]
        parts += [] if self.hours is None else [f"{self.hours:g} hour{'s' * (self.hours != 1)}"]
        return " or ".join(parts)


_TYPES: dict[str, tuple[type, ...]] = {
    "space": (dict,),
    "trials": (int,),
    "hours": (int, float),
    "sampler": (str, dict),
    "pruner": (str, dict),
    "seed": (int,),
    "points": (list,),
    "warm_start": (list,),
    "minimize": (str,),
}


def parse_search(content: Mapping[str, Any]) -> SearchSpec:
    """Parse the section `search` of a study.

    Raises:
        ValueError: if a key is unknown or missing, or a value is invalid.
    """
    known = [item.name for item in dataclasses.fields(SearchSpec)]
    for key in content:
        if key not in known:
            raise UnknownNameError(describe_unknown("key in the section `search`", str(key), known))
    return SearchSpec(**{"space": {}, **content})


def parse_confirm(text: str) -> tuple[int, int]:
    """Return the number of configurations and of seeds in a text such as 3x5.

    Raises:
        ValueError: if the text is not of this form.
    """
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text.strip())
    if match is None:
        raise ValueError(f"Expected --confirm as CONFIGURATIONSxSEEDS, such as 3x5; got '{text}'.")
    return int(match[1]), int(match[2])

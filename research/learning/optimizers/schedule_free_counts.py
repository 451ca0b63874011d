"""Schedule-free AdamW with step counts for each parameter; this module needs the package schedulefree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from schedulefree import AdamWScheduleFree

_COUNTS = ("k", "weight_sum", "lr_max")
"""Keys of a group in which schedulefree counts the group's steps and sums the weights of its average."""


class AdamWWithCounts(AdamWScheduleFree):
    """AdamWScheduleFree whose step counts belong to parameters instead of groups.

    schedulefree counts the steps of a group. A parameter that joins a group later, such as that of a new head or of an
    unfrozen layer, would have no bias correction, so that its first steps would be up to 30 times too large, and would
    hardly move the average away from its first value.
    """

    param_groups: list[dict[str, Any]]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step on groups of parameters that have taken equally many steps."""
        groups = self.param_groups
        initial_counts = {name: self.defaults[name] for name in _COUNTS}
        cohorts: dict[tuple[Any, ...], dict[str, Any]] = {}
        for index, group in enumerate(groups):
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                counts = {name: self.state[parameter].get(name, initial_counts[name]) for name in _COUNTS}
                key = (index, *counts.values())
                if key not in cohorts:
                    cohorts[key] = {**group, **counts, "params": []}
                cohorts[key]["params"].append(parameter)
        self.param_groups = list(cohorts.values())
        try:
            loss: float | None = super().step(closure) if cohorts else None
        finally:
            self.param_groups = groups
        for cohort in cohorts.values():
            for parameter in cohort["params"]:
                self.state[parameter].update({name: cohort[name] for name in _COUNTS})
        return loss

"""What a validation value measures, so that "best so far" is compared with values of the same kind only."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from research.choices import fill_in
from research.config import Choice
from research.objectives import OBJECTIVES

if TYPE_CHECKING:
    from research.run import Run


def measure(run: Run, metric: str) -> str:
    """Return what the values of a metric measure now; only a loss depends on the objective.

    Args:
        run: the run; its settings and edits say what it minimises.
        metric: name of a validation metric, or loss.
    """
    if metric != "loss":
        return metric
    objective = run.config.objective
    for record in run.journal:
        if record.name == "set_objective":
            objective = record.arguments["objective"]
    assert objective is not None  # a run's settings name it
    choice = fill_in(OBJECTIVES, Choice.of(objective, "objective"))
    options = f" {json.dumps(choice.options, sort_keys=True)}" if choice.options else ""
    return f"loss of {choice.name}{options}"

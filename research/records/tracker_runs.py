"""Ids of tracker runs. A resumed run continues the tracker run of its run directory; a fork starts a new one.

If a step is logged twice, MLflow keeps both values and Weights & Biases keeps the first. The values are equal, because
a resumed run repeats the steps after its checkpoint exactly.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate.tracking import GeneralTracker

from research.settings.run_files import TRACKER_RUNS
from research.system.durable import write_text


@dataclass(frozen=True)
class Continuation:
    """How to continue a run of one kind of tracker."""

    init_arguments: Callable[[str], dict[str, Any]]
    """Returns the tracker's init arguments that continue the run with a given id."""
    id_of: Callable[[Any], str]
    """Returns the id of a run, given the tracker's run object."""


CONTINUATIONS: dict[str, Continuation] = {
    "wandb": Continuation(lambda run_id: {"id": run_id, "resume": "allow"}, lambda run: str(run.id)),
    "mlflow": Continuation(lambda run_id: {"run_id": run_id}, lambda run: str(run.info.run_id)),
    "comet_ml": Continuation(
        lambda key: {"experiment_key": key, "mode": "get_or_create"}, lambda experiment: str(experiment.get_key())
    ),
}


def read_tracker_runs(directory: Path) -> dict[str, str]:
    """Return the run id of each tracker that can continue a run; empty for a new run directory.

    Raises:
        ValueError: if the file with the ids is damaged.
    """
    path = directory / TRACKER_RUNS
    try:
        run_ids = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ValueError(f"Cannot read {path} ({error}). Delete it to start new tracker runs.") from None
    return {name: run_id for name, run_id in run_ids.items() if name in CONTINUATIONS}


def write_tracker_runs(directory: Path, stored: Mapping[str, str], trackers: Sequence[GeneralTracker]) -> None:
    """Store the ids of the trackers' runs in the run directory.

    Args:
        directory: run directory.
        stored: ids that the directory already contains; ids of trackers that are no longer used are kept.
        trackers: the trackers that were started.
    """
    started = {
        each.name: CONTINUATIONS[each.name].id_of(each.tracker) for each in trackers if each.name in CONTINUATIONS
    }
    if started and {**stored, **started} != stored:
        write_text(directory / TRACKER_RUNS, json.dumps({**stored, **started}, indent=2))

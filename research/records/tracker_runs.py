"""Which run of a tracker belongs to a run directory: a resumed run continues it, a fork starts one of its own.

MLflow keeps both values of a step that is logged again, Weights & Biases the first. They are equal, since a resumed run
repeats the steps after its checkpoint exactly.
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
    """How a tracker continues a run."""

    init_arguments: Callable[[str], dict[str, Any]]
    """Returns the arguments that continue the run with an id."""
    id_of: Callable[[Any], str]
    """Returns the id of a run, given the tracker's own object for it."""


CONTINUATIONS: dict[str, Continuation] = {
    "wandb": Continuation(lambda run_id: {"id": run_id, "resume": "allow"}, lambda run: str(run.id)),
    "mlflow": Continuation(lambda run_id: {"run_id": run_id}, lambda run: str(run.info.run_id)),
    "comet_ml": Continuation(
        lambda key: {"experiment_key": key, "mode": "get_or_create"}, lambda experiment: str(experiment.get_key())
    ),
}


def read_tracker_runs(directory: Path) -> dict[str, str]:
    """Return the id of each tracker's run, of the trackers that can continue it; none for a new run directory.

    Raises:
        ValueError: if the file that holds them is damaged.
    """
    path = directory / TRACKER_RUNS
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ValueError(f"Cannot read {path} ({error}); delete it to start new runs of the trackers.") from None
    return {name: run_id for name, run_id in found.items() if name in CONTINUATIONS}


def write_tracker_runs(directory: Path, before: Mapping[str, str], trackers: Sequence[GeneralTracker]) -> None:
    """Keep the ids of the trackers' runs in the run directory.

    Args:
        directory: the run directory.
        before: what it holds; trackers that are not used now keep their ids.
        trackers: those that were started.
    """
    started = {
        each.name: CONTINUATIONS[each.name].id_of(each.tracker) for each in trackers if each.name in CONTINUATIONS
    }
    if started and {**before, **started} != before:
        write_text(directory / TRACKER_RUNS, json.dumps({**before, **started}, indent=2))

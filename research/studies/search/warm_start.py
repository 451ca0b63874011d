"""Results of an earlier study that inform the sampler of a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from optuna.trial import FrozenTrial, TrialState, create_trial

from research.studies.grid import StudySpec
from research.studies.search.optuna_objects import to_distribution
from research.studies.search.propose import encode
from research.studies.search.space import Dimension
from research.studies.storage.database import local_address
from research.studies.storage.study import Study
from research.studies.storage.trials import WARM_START, StorageEntry

STUDY_FILE = "study.yaml"


@dataclass(frozen=True)
class EarlierTrials:
    """The trials of an earlier study that are in the space of a search."""

    source: str
    """Directory of the earlier study."""
    trials: list[FrozenTrial]
    """Finished trials in the space, with the search's distributions."""
    num_outside: int
    """Number of finished trials that are outside of the space, or without the metric of the search."""

    def describe(self) -> str:
        """Return a message for the user."""
        return (
            f"Trials of {self.source} that inform the sampler: {len(self.trials)}. Finished trials that are outside of "
            f"the space, or have no such metric: {self.num_outside}."
        )


def read_earlier_trials(source: str, spec: StudySpec, space: Mapping[str, Dimension]) -> EarlierTrials:
    """Read the finished trials of an earlier study.

    Args:
        source: directory of the earlier study.
        spec: specification of the search.
        space: its space.
    Raises:
        ValueError: if the directory contains no study.
    """
    directory = Path(source)
    try:
        earlier = StudySpec(**yaml.safe_load((directory / STUDY_FILE).read_text(encoding="utf-8")))
    except (OSError, TypeError, yaml.YAMLError):
        raise ValueError(
            f"Expected --warm_start to be the directory of a study, with {STUDY_FILE}; got {source}."
        ) from None
    with Study(earlier.name, local_address(directory.resolve()), must_exist=True) as study:
        entries = [entry for entry in study.entries().values() if entry.status == "finished"]
    inside = [trial for entry in entries if (trial := _in_space(entry, spec, space, source)) is not None]
    return EarlierTrials(source, inside, len(entries) - len(inside))


def _in_space(entry: StorageEntry, spec: StudySpec, space: Mapping[str, Dimension], source: str) -> FrozenTrial | None:
    """Return a trial with the distributions and the metric of a search; None if it has no such value."""
    metrics = entry.attributes["metrics"].get(spec.split, {})
    metric = metrics.get(spec.compared_metric(metrics))
    if metric is None:
        return None
    values: dict[str, Any] = {}
    for name, dimension in space.items():
        value = entry.trial.axes.get(name, entry.trial.settings.get(name))
        if value is None and "." in name:  # an option that the trial's choice does not have
            continue
        try:
            values[name] = encode(dimension, value)
        except ValueError:
            return None
    return create_trial(
        state=TrialState.COMPLETE,
        params=values,
        distributions={name: to_distribution(space[name]) for name in values},
        value=metric,
        user_attrs={WARM_START: f"{source}: {entry.trial.id}"},
    )

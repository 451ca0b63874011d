"""Results of an earlier study that inform the sampler of a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from optuna.trial import FrozenTrial, TrialState, create_trial

from research.settings.flags import names_where
from research.studies.grid import StudySpec
from research.studies.search.optuna_objects import to_distribution
from research.studies.search.propose import Proposer, encode
from research.studies.search.space import Dimension
from research.studies.search.spec import CONFIRMATION, parse_search
from research.studies.storage.database import local_address
from research.studies.storage.study import Study
from research.studies.storage.trials import WARM_START, StorageEntry
from research.system.messages import logger

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
    different: list[str]
    """Names of settings that are not searched, but differ between the trials and the search."""

    def describe(self) -> str:
        """Return a message for the user."""
        described = (
            f"Trials of {self.source} that inform the sampler: {len(self.trials)}. --confirm does not choose among "
            f"them. Finished trials that are outside of the space, or have no such metric: {self.num_outside}."
        )
        if self.different:
            described += (
                f" They ran with other values of these settings: {', '.join(self.different)}. They help only if "
                "the best values do not depend on these settings."
            )
        return described


@dataclass(frozen=True)
class EarlierUse:
    """What was used before a search by the studies whose results inform it."""

    seeds: set[int]
    """Seeds of their trials."""
    tested: list[str]
    """Directories of the studies that scored test rows."""


def find_earlier_use(sources: Sequence[str]) -> EarlierUse:
    """Return the seeds that earlier studies used, and which of them scored test rows.

    Their confirmations count, and so do the earlier studies that informed them. If one of these no longer exists, a
    message says so.

    Args:
        sources: directories of the earlier studies.
    """
    seeds: set[int] = set()
    tested: list[str] = []
    known: set[str] = set()
    waiting = [*sources]
    while waiting:
        source = waiting.pop(0)
        if source in known:
            continue
        known.add(source)
        if not (Path(source) / STUDY_FILE).is_file():
            logger.info(f"The earlier study {source} no longer exists; its seeds and test rows are not known.")
            continue
        for directory in (source, str(Path(source) / CONFIRMATION)):
            if not (Path(directory) / STUDY_FILE).is_file():  # not confirmed
                continue
            spec, entries = _read_study(directory)
            waiting += parse_search(spec.search).warm_start if spec.search else []
            seeds |= {entry.trial.seed for entry in entries}
            if any("test" in entry.attributes.get("metrics", {}) for entry in entries):
                tested.append(directory)
    return EarlierUse(seeds, tested)


def read_earlier_trials(source: str, spec: StudySpec, proposer: Proposer) -> EarlierTrials:
    """Read the finished trials of an earlier study.

    Args:
        source: directory of the earlier study.
        spec: specification of the search.
        proposer: its proposer.
    Raises:
        ValueError: if the directory contains no study.
    """
    _, entries = _read_study(source)
    entries = [entry for entry in entries if entry.status == "finished"]
    inside: list[FrozenTrial] = []
    different: dict[str, None] = {}
    defaults = proposer.default_trial().settings
    names = names_where(lambda declared: declared.distinguishes_trials)
    fixed = [name for name in names if name not in proposer.space and name not in ("seed", "score_test")]
    for entry in entries:
        if (trial := _in_space(entry, spec, proposer.space, source)) is not None:
            inside.append(trial)
            settings = entry.trial.settings
            different |= dict.fromkeys(name for name in fixed if settings.get(name) != defaults[name])
    return EarlierTrials(source, inside, len(entries) - len(inside), [*different])


def _read_study(source: str) -> tuple[StudySpec, list[StorageEntry]]:
    """Read the specification and the trials of a study.

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
        return earlier, [*study.entries().values()]


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

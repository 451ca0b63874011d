"""What the trials of a study came to: read from their run directories, as far as they are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from optuna.trial import TrialState

from research.settings.declarations import Stage
from research.settings.flags import names_where
from research.studies.grid import StudySpec, Trial
from research.studies.storage.trials import Entry
from research.studies.worker import TRIALS, read_finished, trains_head_only

State = Literal["finished", "running", "waiting", "failed"]


@dataclass(frozen=True)
class Outcome:
    """One trial, and where it is."""

    trial: Trial
    """Which one."""
    directory: Path
    """Its run directory."""
    state: State
    """What the study's storage says of it."""
    result: dict[str, Any] | None = None
    """What its result.json holds, of a finished one."""
    error: str | None = None
    """Why it failed."""


@dataclass(frozen=True)
class StudyOutcomes:
    """All trials of a study."""

    spec: StudySpec
    """What is compared."""
    directory: Path
    """Where the study lies."""
    outcomes: Sequence[Outcome]
    """In the order of the grid."""
    num_others: int = 0
    """Finished trials in the study's storage that its grid does not ask for now."""
    failed_before: Sequence[Outcome] = ()
    """Failed trials of its arms with seeds that its grid does not ask for now."""

    @property
    def arms(self) -> list[str]:
        """Return the arms, in the order of the grid."""
        return list(dict.fromkeys(outcome.trial.arm for outcome in self.outcomes))

    @property
    def finished(self) -> list[Outcome]:
        """Return the trials that have a result."""
        return [outcome for outcome in self.outcomes if outcome.state == "finished"]

    @property
    def failed_seeds(self) -> dict[str, tuple[int, ...]]:
        """Return the seeds of each arm whose trial failed."""
        found: dict[str, tuple[int, ...]] = dict.fromkeys(self.arms, ())
        for outcome in self.outcomes:
            if outcome.state == "failed":
                found[outcome.trial.arm] += (outcome.trial.seed,)
        return found

    @property
    def baseline(self) -> str:
        """Return the arm that the others are compared with."""
        return self.spec.baseline or self.arms[0]

    @property
    def mixtures(self) -> list[str]:
        """Return what differs between trials though no setting says so: data, the user's own code, or rounding."""
        found = self._mixed_hidden_states()
        decisive = names_where(lambda declared: declared.affects(Stage.TOKENS))
        for what, key in (("rows of the data", "rows_sha256"), ("code of the plugins", "plugins")):
            by_source: dict[str, dict[str, list[str]]] = {}
            for outcome in self.finished:
                if outcome.result is not None and key in outcome.result:
                    names = decisive if key == "rows_sha256" else ("plugin",)
                    # An arm that came later may use more of a plugin: within an arm it must be the same.
                    arm = None if key == "rows_sha256" else outcome.trial.arm
                    source = repr([arm, *(outcome.trial.settings.get(name) for name in names)])
                    version = json.dumps(outcome.result[key], sort_keys=True)
                    by_source.setdefault(source, {}).setdefault(version, []).append(outcome.trial.id)
            for versions in by_source.values():
                if len(versions) > 1:
                    _, *others = sorted(versions.values(), key=len, reverse=True)
                    ids = ", ".join(each for alike in others for each in alike)
                    found.append(f"the {what} changed between trials: {ids} had others than the rest")
        return found

    def _mixed_hidden_states(self) -> list[str]:
        """Return whether some trials read hidden states that were rounded otherwise than those others computed.

        In float32 they differ by 1e-7 and are left alone.
        """
        computed: dict[bool, list[str]] = {True: [], False: []}
        reduced = set()
        for outcome in self.finished:
            result, config = outcome.result or {}, outcome.trial.config()
            if "cached_features" not in result or not trains_head_only(replace(config, cache_features=None)):
                continue
            computed[not result["cached_features"]].append(outcome.trial.id)
            precision = result.get("mixed_precision", config.mixed_precision)
            if precision in ("bf16", "fp16"):
                reduced.add(f"--mixed_precision {precision} --cache_features false")
            elif config.cache_dtype != "float32":
                reduced.add("--cache_dtype float32")
        if not (reduced and all(computed.values())):
            return []
        ids = ", ".join(computed[True])
        return [
            f"the encoder ran in every epoch of {ids}, and the other trials read its hidden states from the cache, "
            f"rounded otherwise: for trials that are alike, pass {' '.join(sorted(reduced))}"
        ]

    def is_unlabelled(self, split: str) -> bool:
        """Return whether a finished trial read rows without labels there."""
        return any(outcome.result is not None and split not in outcome.result["metrics"] for outcome in self.finished)

    def values(self, metric: str, split: str) -> dict[str, dict[int, float]]:
        """Return a metric by arm and seed, of finished trials.

        Raises:
            ValueError: if a trial has no such metric, or its rows have no labels.
        """
        if self.is_unlabelled(split):
            raise ValueError(describe_unlabelled(split))
        found: dict[str, dict[int, float]] = {arm: {} for arm in self.arms}
        for outcome in self.finished:
            assert outcome.result is not None
            metrics = outcome.result["metrics"][split]
            if metric not in metrics:
                raise ValueError(f"No metric '{metric}' in {outcome.directory}; there are {', '.join(metrics)}.")
            found[outcome.trial.arm][outcome.trial.seed] = float("nan" if metrics[metric] is None else metrics[metric])
        return found


def describe_unlabelled(split: str) -> str:
    """Return why arms cannot be compared on a split, and what can be done instead."""
    return (
        f"arms cannot be compared on {split} rows, which have no labels; --split validation compares them on "
        "validation rows"
    )


def collect(spec: StudySpec, trials: Sequence[Trial], entries: Mapping[str, Entry], directory: Path) -> StudyOutcomes:
    """Return what the trials of a grid came to.

    Args:
        spec: the study.
        trials: of its grid.
        entries: what the storage knows.
        directory: where the study lies.
    """
    asked = {trial.id for trial in trials}
    others = [entry for entry in entries.values() if entry.trial.id not in asked and _state(entry) == "finished"]
    outcomes = [_outcome(trial, entries.get(trial.id), directory) for trial in trials]
    arms = {_arm_settings(trial): trial.arm for trial in trials}
    failed_before = [
        replace(_outcome(entry.trial, entry, directory), trial=replace(entry.trial, arm=arms[settings]))
        for entry in entries.values()
        if entry.trial.id not in asked
        and _state(entry) == "failed"
        and (settings := _arm_settings(entry.trial)) in arms  # an arm's name may have stood for others before
    ]
    return StudyOutcomes(spec, directory, outcomes, len(others), failed_before)


def _arm_settings(trial: Trial) -> str:
    """Return the settings that all seeds of a trial's arm share."""
    return json.dumps({**trial.settings, "seed": None}, sort_keys=True, default=str)


def _outcome(trial: Trial, entry: Entry | None, directory: Path) -> Outcome:
    place = directory / TRIALS / trial.id
    if entry is None:
        return Outcome(trial, place, "waiting")
    state = _state(entry)
    result = read_finished(place) if state == "finished" else None
    if state == "finished" and result is None:  # its files are on the machine that it ran on
        result = {"metrics": entry.attributes["metrics"]}
    return Outcome(trial, place, state, result, entry.attributes.get("error"))


def _state(entry: Entry) -> State:
    states: dict[TrialState, State] = {
        TrialState.COMPLETE: "finished",
        TrialState.PRUNED: "finished",
        TrialState.FAIL: "failed",
        TrialState.RUNNING: "running",
    }
    return states.get(entry.state, "waiting")

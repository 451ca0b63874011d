"""Outcomes of the trials of a study, read from the storage and from their run directories."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from research.settings.declarations import Stage
from research.settings.flags import names_where
from research.studies.grid import StudySpec, Trial
from research.studies.storage.trials import Status, StorageEntry
from research.studies.units import Unit
from research.studies.worker import TRIALS, trains_head_only, try_read_result


@dataclass(frozen=True)
class Outcome:
    """State and result of one trial."""

    trial: Trial
    """The trial."""
    directory: Path
    """Run directory of the trial."""
    state: Status
    """Status of the trial in the study's storage."""
    result: dict[str, Any] | None = None
    """Content of result.json if the trial is finished; only its metrics if the file is on another machine."""
    error: str | None = None
    """Why the trial failed."""


@dataclass(frozen=True)
class StudyOutcomes:
    """Outcomes of all trials of a study."""

    spec: StudySpec
    """Specification of the study."""
    directory: Path
    """Directory of the study."""
    outcomes: Sequence[Outcome]
    """Outcomes of the trials of the current grid, in the order of the grid."""
    num_finished_outside_grid: int = 0
    """Number of finished trials in the storage that are not in the current grid."""
    failed_outside_grid: Sequence[Outcome] = ()
    """Failed trials of the current arms, with seeds that are not in the current grid."""

    @property
    def arms(self) -> list[str]:
        """Return the arms, in the order of the grid."""
        return list(dict.fromkeys(outcome.trial.arm for outcome in self.outcomes))

    @property
    def finished(self) -> list[Outcome]:
        """Return the finished trials."""
        return [outcome for outcome in self.outcomes if outcome.state == "finished"]

    @property
    def common_pasts(self) -> dict[str, dict[str, Any] | None]:
        """Return the content of result.json of each trial that finished trials fork, by its id; None if not found."""
        return {
            outcome.trial.parent_id: try_read_result(outcome.directory.parent / outcome.trial.parent_id)
            for outcome in self.finished
            if outcome.trial.parent_id is not None
        }

    @property
    def num_folds(self) -> int | None:
        """Return the number of folds; None if there are none."""
        folds: int | None = self.outcomes[0].trial.settings.get("folds")
        return folds

    @property
    def failed_seeds(self) -> dict[str, tuple[Unit, ...]]:
        """Return the seeds (with folds, the seeds and folds) of the failed trials, by arm."""
        seeds: dict[str, tuple[Unit, ...]] = dict.fromkeys(self.arms, ())
        for outcome in self.outcomes:
            if outcome.state == "failed":
                seeds[outcome.trial.arm] += (outcome.trial.unit,)
        return seeds

    @property
    def baseline(self) -> str:
        """Return the arm with which all other arms are compared."""
        return self.spec.baseline or self.arms[0]

    @property
    def inconsistencies(self) -> list[str]:
        """Return messages about differences between trials that their settings do not explain.

        The data, the code of plugins and the rounding of hidden states are checked.
        """
        messages = self._inconsistent_hidden_states()
        token_settings = names_where(lambda declared: declared.affects(Stage.TOKENS))
        for what, key in (("rows of the data", "rows_sha256"), ("code of the plugins", "plugins")):
            # trials that should agree -> their data or code -> ids of the trials that have it
            ids_by_group: dict[str, dict[str, list[str]]] = {}
            for outcome in self.finished:
                if outcome.result is not None and key in outcome.result:
                    names = token_settings if key == "rows_sha256" else ("plugin",)
                    # Plugins are compared within an arm only: arms that were added later may use more of a plugin.
                    arm = None if key == "rows_sha256" else outcome.trial.arm
                    group = repr([arm, *(outcome.trial.settings.get(name) for name in names)])
                    version = json.dumps(outcome.result[key], sort_keys=True)
                    ids_by_group.setdefault(group, {}).setdefault(version, []).append(outcome.trial.id)
            for versions in ids_by_group.values():
                if len(versions) > 1:
                    _, *minorities = sorted(versions.values(), key=len, reverse=True)
                    ids = ", ".join(trial_id for minority in minorities for trial_id in minority)
                    messages.append(
                        f"the {what} changed between trials; the following trials differ from the majority: {ids}"
                    )
        return messages

    def _inconsistent_hidden_states(self) -> list[str]:
        """Return a message if trials are not comparable, because cached hidden states are rounded differently.

        This is the case if, of the trials with a frozen encoder, some read cached hidden states and others computed
        them. In float32, the difference is about 1e-7 and is ignored.

        Returns:
            A list with the message; empty if the trials are comparable.
        """
        cached_ids: list[str] = []
        computed_ids: list[str] = []
        remedies = set()
        for outcome in self.finished:
            result, config = outcome.result or {}, outcome.trial.config()
            if "cached_features" not in result or not trains_head_only(replace(config, cache_features=None)):
                continue  # ran on another machine, or could not have read cached hidden states
            (cached_ids if result["cached_features"] else computed_ids).append(outcome.trial.id)
            precision = result.get("mixed_precision", config.mixed_precision)
            if precision in ("bf16", "fp16"):
                remedies.add(f"--mixed_precision {precision} --cache_features false")
            elif config.cache_dtype != "float32":
                remedies.add("--cache_dtype float32")
        if not (remedies and cached_ids and computed_ids):
            return []
        return [
            f"the encoder ran in every epoch of {', '.join(computed_ids)}, while the other trials read cached hidden "
            f"states, which are rounded differently; to make the trials comparable, pass {' '.join(sorted(remedies))}"
        ]

    def is_unlabelled(self, split: str) -> bool:
        """Return whether there is a finished trial in which the rows of a split had no labels."""
        return any(outcome.result is not None and split not in outcome.result["metrics"] for outcome in self.finished)

    def metric_values(self, metric: str, split: str) -> dict[str, dict[Unit, float]]:
        """Return a metric of the finished trials by arm and seed (with folds, seed and fold), NaN if it is undefined.

        Raises:
            ValueError: if a trial does not have the metric, or if the rows of the split have no labels.
        """
        if self.is_unlabelled(split):
            raise ValueError(describe_unlabelled(split))
        values: dict[str, dict[Unit, float]] = {arm: {} for arm in self.arms}
        for outcome in self.finished:
            assert outcome.result is not None
            metrics = outcome.result["metrics"][split]
            if metric not in metrics:
                raise ValueError(
                    f"The result in {outcome.directory} has no metric '{metric}'. Its metrics: {', '.join(metrics)}."
                )
            values[outcome.trial.arm][outcome.trial.unit] = float("nan" if metrics[metric] is None else metrics[metric])
        return values


def describe_unlabelled(split: str) -> str:
    """Explain why arms cannot be compared on a split without labels, and what to do instead."""
    return (
        f"arms cannot be compared on {split} rows, because these rows have no labels; use --split validation to "
        "compare the arms on validation rows"
    )


def collect_outcomes(
    spec: StudySpec, trials: Sequence[Trial], entries: Mapping[str, StorageEntry], directory: Path
) -> StudyOutcomes:
    """Return the outcomes of the trials of a grid.

    Args:
        spec: specification of the study.
        trials: trials of the current grid.
        entries: entries of the study's storage, by trial id.
        directory: directory of the study.
    """
    in_grid = {trial.id for trial in trials}
    num_finished_outside_grid = sum(
        entry.trial.id not in in_grid and entry.status == "finished" and not entry.trial.is_parent
        for entry in entries.values()
    )
    outcomes = [_read_outcome(trial, entries.get(trial.id), directory) for trial in trials]
    arms = {trial.arm_key: trial.arm for trial in trials}
    failed_outside_grid = [
        replace(_read_outcome(entry.trial, entry, directory), trial=replace(entry.trial, arm=arms[settings]))
        for entry in entries.values()
        if entry.trial.id not in in_grid
        and entry.status == "failed"
        and (settings := entry.trial.arm_key) in arms  # by settings: names of arms may have changed since
    ]
    return StudyOutcomes(spec, directory, outcomes, num_finished_outside_grid, failed_outside_grid)


def _read_outcome(trial: Trial, entry: StorageEntry | None, directory: Path) -> Outcome:
    run_directory = directory / TRIALS / trial.id
    if entry is None:
        return Outcome(trial, run_directory, "waiting")
    state = entry.status
    result = try_read_result(run_directory) if state == "finished" else None
    if state == "finished" and result is None:  # its files are on another machine
        result = {"metrics": entry.attributes["metrics"]}
    return Outcome(trial, run_directory, state, result, entry.attributes.get("error"))

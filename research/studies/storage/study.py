"""The storage of a study: an Optuna study whose trials are runs, in a local file or in a shared database."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import time
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import psutil
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.pruners import BasePruner
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import text

from heads.registry import UnknownNameError, describe_unknown
from research.studies.devices import VISIBLE_DEVICES
from research.studies.grid import StudySpec, Trial
from research.studies.storage.bulk import insert_trials
from research.studies.storage.database import (
    STORAGE_FILE,
    engine_arguments,
    lock_at_transaction_start,
    translate_database_errors,
    without_password,
)
from research.studies.storage.retry import Heartbeat, RetryPolicy, Returned
from research.studies.storage.trials import (
    COPY_OF,
    DROPPED,
    IDENTITY,
    PAUSED,
    PROMOTED,
    PRUNED_AT,
    REPEATS,
    UNDEFINED_METRIC,
    WARM_START,
    StorageEntry,
    identity_of,
    make_waiting_trials,
    read_entry,
)
from research.system.processes import is_alive

if TYPE_CHECKING:
    from research.studies.search.propose import Proposer
    from research.studies.search.spec import SearchSpec

HEARTBEAT_SECONDS = 10
"""Time between two heartbeats of a worker, in seconds."""
GRACE_SECONDS = 60
"""A worker without a heartbeat for this many seconds counts as dead, no matter on which machine it ran."""
MANY_TRIALS = 20
"""With more changed trials than this, reading all trials at once is faster than reading the changed ones one by one."""
_CHOICES = "choices"
"""Attribute of a search with its samplers and pruners, and the number of trials that were proposed before each."""
_FIXED_KEYS = ("metric", "split")
"""Keys of a study's specification whose first values stay in the storage."""
MAX_REPEATS = 100
"""A search without a limit on trials ends after this number of proposals in a row that repeat earlier settings."""
MAX_DEATHS = 3
"""Number of killed processes after which a trial counts as failed."""

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class Claim:
    """A trial that belongs to this worker exclusively."""

    trial: Trial
    """The trial."""
    key: int
    """Id of the trial in the storage, unique over all studies."""
    is_promoted: bool = False
    """Whether the trial was pruned before, and now continues to its end."""
    earlier_seconds: float = 0.0
    """How long the trial ran before it was pruned, in seconds."""


class Study:
    """A study in a storage.

    Args:
        name: name of the study.
        address: SQLAlchemy URL of the storage, such as sqlite:///runs/a/study.db or postgresql+psycopg://...
        must_exist: whether a missing study is an error; otherwise it is created.
        higher_is_better: whether higher values of the metric are better; an existing study keeps its direction.
        has_second_objective: whether trials have a second value, of which lower values are better.
    Raises:
        ValueError: if the storage cannot be reached, or if it has no such study and `must_exist` is set.
    """

    def __init__(
        self,
        name: str,
        address: str,
        *,
        must_exist: bool = False,
        higher_is_better: bool = True,
        has_second_objective: bool = False,
    ) -> None:
        self.name, self.address = name, address
        self.retry_policy = RetryPolicy(f"The study's storage {without_password(address)}")
        file = Path(address.removeprefix("sqlite:///"))
        if must_exist and address.startswith("sqlite:///") and not file.exists():  # SQLite would create it
            raise ValueError(
                f"The storage {file} does not exist. The default storage of a study is runs/<name>/{STORAGE_FILE}."
            )
        with translate_database_errors(address), _without_heartbeat_warning(), ExitStack() as on_error:
            self._storage = RDBStorage(
                address,
                engine_kwargs=engine_arguments(address),
                heartbeat_interval=HEARTBEAT_SECONDS,
                grace_period=GRACE_SECONDS,
                heartbeat_stale_trial_callback=lambda _, trial: self._requeue_or_fail(trial),
            )
            on_error.callback(self.close)
            if address.startswith("sqlite"):
                lock_at_transaction_start(self._storage.engine)
            existing = optuna.get_all_study_names(self._storage)
            if must_exist and name not in existing:
                raise UnknownNameError(
                    describe_unknown("study", name, existing, listed_as=f"Studies in {without_password(address)}")
                )
            self._study = optuna.create_study(
                study_name=name,
                storage=self._storage,
                directions=[
                    StudyDirection.MAXIMIZE if higher_is_better else StudyDirection.MINIMIZE,
                    *([StudyDirection.MINIMIZE] if has_second_objective else []),
                ],
                load_if_exists=True,
            )
            self._id = self._storage.get_study_id_from_name(name)
            # By id in the storage; None for a trial without settings, which another program may have added.
            self._entries: dict[int, StorageEntry | None] = {}
            self._states: dict[int, TrialState] = {}  # of the entries
            on_error.pop_all()  # no error: the storage stays open

    @property
    def higher_is_better(self) -> bool:
        """Whether higher values of the metric are better."""
        return self._study.directions[0] == StudyDirection.MAXIMIZE

    def __enter__(self) -> Study:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections to the storage."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    def save_spec(self, spec: Mapping[str, Any]) -> str | None:
        """Store the study's specification, for workers and dashboards.

        The values of trials in the storage always belong to the metric and split that the study started with, even if
        its report now compares a different metric. Otherwise the storage would mix values of two metrics. Models are
        kept as before, unless the new specification says so: what was kept on request is not removed by default.

        Returns:
            A message for the user if the metric or split differs from the first one, otherwise None.
        """

        def save() -> dict[str, Any]:
            first_spec = json.loads(self._study.user_attrs.get("spec", json.dumps(spec, default=str)))
            first_values = {name: first_spec[name] for name in _FIXED_KEYS}
            keep_models = spec.get("keep_models") or first_spec.get("keep_models")
            updated = {**spec, **first_values, "keep_models": keep_models}
            self._study.set_user_attr("spec", json.dumps(updated, default=str))
            return first_values

        first_values = self._call(save)
        if all(spec[name] == value for name, value in first_values.items()):
            return None
        metric = first_values["metric"] or "the default metric"
        return (
            f"The study started with {metric} on {first_values['split']} rows. Its storage and its progress table keep "
            "showing the values of this metric on this split; only its report uses the new metric or split."
        )

    def spec(self) -> StudySpec:
        """Return the study's specification."""
        return self._call(lambda: StudySpec(**json.loads(self._study.user_attrs["spec"])))

    def record_choices(self, search: SearchSpec) -> None:
        """Record how a search chooses its next trials, in case this differs from how it chose earlier ones."""
        choices = {"sampler": search.sampler, "seed": search.seed, "pruner": search.pruner}
        num_proposed = self._num_proposed()
        recorded = [each for each in self._recorded_choices() if each[0] < num_proposed]
        if not recorded or recorded[-1][1] != choices:
            recorded.append((num_proposed, choices))
        self._call(lambda: self._study.set_user_attr(_CHOICES, recorded))

    def choices(self, search: SearchSpec) -> list[tuple[int, SearchSpec]]:
        """Return how a search chose its trials.

        Args:
            search: the search as it is now.
        Returns:
            The number of trials that had been proposed before, and the search with the sampler, its seed and the pruner
            that were used from then on. The first number is above 0 if an earlier version of Midway, which recorded
            nothing, had proposed trials.
        """
        num_proposed = self._num_proposed()
        # What was chosen last has had no effect if no trial was proposed since.
        recorded = [each for each in self._recorded_choices() if each[0] < num_proposed] or [(0, {})]
        return [(number, dataclasses.replace(search, **choices)) for number, choices in recorded]

    def _recorded_choices(self) -> list[tuple[int, dict[str, Any]]]:
        return [(number, choices) for number, choices in self._call(lambda: self._study.user_attrs.get(_CHOICES, []))]

    def refuse_other_kind(self, spec: StudySpec) -> None:
        """Refuse to continue a search as a grid, or a grid as a search.

        Raises:
            ValueError: if the storage has the other kind of study.
        """
        if "spec" not in self._call(lambda: self._study.user_attrs):
            return
        kinds = {True: "a search", False: "a grid"}
        stored, wanted = bool(self.spec().search), bool(spec.search)
        if stored != wanted:
            raise ValueError(
                f"The study {self.name} is {kinds[stored]}, and cannot continue as {kinds[wanted]}. Choose another "
                "--name."
            )

    def entries(self) -> dict[str, StorageEntry]:
        """Return the latest entry of every trial, by the trial's id."""
        self._call(self._read_changed_trials)
        latest: dict[str, StorageEntry] = {}
        for _, entry in sorted(self._entries.items()):
            if entry is not None and entry.attributes.get(DROPPED):
                latest.pop(entry.trial.id, None)
            elif entry is not None:
                latest[entry.trial.id] = entry
        return latest

    def _read_changed_trials(self) -> None:
        """Read the trials that may have changed: new ones, those with a new state, and all that are running."""
        # Optuna itself would read all unfinished trials with all their settings at every poll.
        statement = text("SELECT trial_id, state FROM trials WHERE study_id = :study")
        with self._storage.engine.connect() as connection:
            rows = connection.execute(statement, {"study": self._id}).all()
        states = {int(key): TrialState[state] for key, state in rows}
        changed = [
            key for key, state in states.items() if state == TrialState.RUNNING or self._states.get(key) != state
        ]
        if len(changed) > MANY_TRIALS:
            stored = self._storage.get_all_trials(self._id, deepcopy=False)
        else:
            stored = [self._storage.get_trial(key) for key in changed]
        self._entries |= {trial._trial_id: read_entry(trial) for trial in stored}
        self._states |= {trial._trial_id: trial.state for trial in stored}

    def add(self, trials: Sequence[Trial], *, rerun: Iterable[str] = ()) -> int:
        """Add the trials that the storage does not have yet, and return their number.

        Args:
            trials: all trials that the study should have.
            rerun: ids of trials to add once more, even if the storage has them.
        """
        rerun_ids = set(rerun)
        last_key = max((entry.key for entry in self.entries().values()), default=-1)

        def add_missing() -> int:
            # After an outage, the storage may have trials from a previous attempt. Their keys are above `last_key`.
            known = self.entries()
            new = [
                trial
                for trial in trials
                if trial.id not in known or (trial.id in rerun_ids and known[trial.id].key <= last_key)
            ]
            waiting = make_waiting_trials(new, trials, self._storage.get_all_trials(self._id, deepcopy=False))
            insert_trials(self._storage, self._id, waiting)
            return len(new)

        return self._call(add_missing)

    def drop_waiting(self, ids_to_keep: Collection[str]) -> int:
        """Remove waiting trials and return their number. A later grid that contains a removed trial adds it again.

        Args:
            ids_to_keep: ids of the trials to keep.
        """
        num_dropped = 0
        for entry in self.entries().values():
            # Claim the trial first, so that no worker can start it in the meantime.
            is_droppable = entry.state == TrialState.WAITING and entry.trial.id not in ids_to_keep
            if is_droppable and self._call(partial(self._try_claim, entry.key)):
                self._set_attributes(entry.key, {DROPPED: True})
                self._set_state(entry.key, TrialState.FAIL)
                num_dropped += 1
        return num_dropped

    def claim(self, worker: str) -> Claim | None:
        """Claim the waiting trial that was added first, or return None if no trial can start.

        A trial that forks another one can start once that one is finished, and fails if that one has failed.

        Args:
            worker: name of the worker that claims the trial.
        """
        entries = self.entries()  # only the latest entry of each trial
        for entry in entries.values():
            parent = None if entry.trial.parent_id is None else entries.get(entry.trial.parent_id)
            if entry.status != "waiting" or (parent is not None and parent.is_unfinished):
                continue
            if self._call(partial(self._try_claim, entry.key)):
                if parent is not None and parent.status == "failed":
                    error = parent.attributes.get("error")
                    self.fail(
                        Claim(entry.trial, entry.key), f"the run that it forks, {parent.trial.id}, failed: {error}"
                    )
                    continue
                self._set_attributes(entry.key, _worker_attributes(worker))
                attributes = entry.attributes
                return Claim(entry.trial, entry.key, bool(attributes.get(PROMOTED)), attributes.get("seconds", 0.0))
        return None

    def _try_claim(self, key: int) -> bool:
        # The heartbeat comes first, so that the death of a worker right after its claim is noticed.
        self._storage.record_heartbeat(key)
        try:
            return self._storage.set_trial_state_values(key, TrialState.RUNNING)
        except UpdateFinishedTrialError:
            return False

    @contextmanager
    def sending_heartbeats(self, claim: Claim) -> Iterator[None]:
        """Tell the storage regularly that this worker is alive while it works on a trial."""
        heartbeat = Heartbeat(lambda: self._storage.record_heartbeat(claim.key), HEARTBEAT_SECONDS)
        heartbeat.start()
        try:
            yield
        finally:
            heartbeat.stop()

    def set_attributes(self, claim: Claim, **attributes: Any) -> None:
        """Store attributes with a trial; the values must be representable in JSON."""
        self._set_attributes(claim.key, attributes)

    def _set_attributes(self, key: int, attributes: Mapping[str, Any]) -> None:
        for name, value in attributes.items():
            with suppress(UpdateFinishedTrialError):  # Optuna adds no attributes to a trial that was declared dead
                self._call(partial(self._storage.set_trial_user_attr, key, name, value))

    def finish(
        self, claim: Claim, value: float | Sequence[float] | None, metrics: Mapping[str, Any], **attributes: Any
    ) -> None:
        """Record that a trial is finished, even if its worker was declared dead in the meantime.

        Args:
            claim: the trial.
            value: value of the compared metric, or of each objective of a search; None if it is not defined.
            metrics: all metrics by split.
            **attributes: further attributes to store with the trial.
        """
        # Optuna does not allow a complete trial without a value.
        state, values = (
            (TrialState.FAIL, None)
            if value is None
            else (TrialState.COMPLETE, value if isinstance(value, Sequence) else [value])
        )
        if value is None:
            attributes[UNDEFINED_METRIC] = True
        self.set_attributes(claim, **attributes, metrics=metrics)
        if not self._set_state(claim.key, state, values):
            self._finish_late(claim, state, values, {**attributes, "metrics": metrics})

    def _finish_late(
        self, claim: Claim, state: TrialState, values: Sequence[float] | None, attributes: Mapping[str, Any]
    ) -> None:
        """Store the result of a worker that was declared dead, unless its trial has been finished by another worker.

        The trial may be waiting or running again, or may have failed.
        """
        entry = self.entries()[claim.trial.id]
        if entry.status == "finished":
            return
        if entry.is_unfinished:
            self._set_attributes(entry.key, attributes)
            if self._set_state(entry.key, state, values):
                return
        dead_trial = self._call(lambda: self._storage.get_trial(claim.key))
        self._add_copy(dead_trial, state, {**attributes, "directory": dead_trial.user_attrs.get("directory")}, values)

    def fail(self, claim: Claim, error: str, **attributes: Any) -> None:
        """Record that a trial failed, and why.

        Args:
            claim: the trial.
            error: why it failed.
            **attributes: further attributes to store with the trial.
        """
        self.set_attributes(claim, error=error, **attributes)
        self._set_state(claim.key, TrialState.FAIL)

    def release(self, claim: Claim, **attributes: Any) -> None:
        """Return an interrupted trial to the waiting trials.

        Args:
            claim: the trial.
            **attributes: attributes to store with the trial.
        """
        self.set_attributes(claim, **attributes)
        self._set_state(claim.key, TrialState.WAITING)

    def ask(self, proposer: Proposer, worker: str) -> Claim | None:
        """Start a new trial of a search, or return None if the search's budget is spent.

        Args:
            proposer: proposes the trial's settings.
            worker: name of the worker that runs the trial.
        """
        search = proposer.search
        while self.is_budget_left(search):
            key = self._create_running_trial(worker)
            rank = self._num_proposed(before=key)
            if search.trials is not None and rank >= search.trials:  # workers may create trials at the same time
                self._set_attributes(key, {DROPPED: True})
                self._set_state(key, TrialState.FAIL)
                return None
            trial = self._call(partial(self._propose, proposer, rank, key))
            earlier = self.entries().get(trial.id)
            if earlier is None:
                # `settings` last, because it makes the trial visible.
                self._set_attributes(key, identity_of(trial))
                return Claim(trial, key)
            self._repeat(key, earlier)
        return None

    def _create_running_trial(self, worker: str) -> int:
        # With its attributes from the start, so that the death of a worker right after this is noticed.
        new = create_trial(state=TrialState.RUNNING, user_attrs=_worker_attributes(worker))
        # Through Optuna's own cache of the storage, which does not know trials that are created elsewhere.
        key = self._call(lambda: self._study._storage.create_new_trial(self._id, new))
        self._call(lambda: self._storage.record_heartbeat(key))
        return key

    def _propose(self, proposer: Proposer, rank: int, key: int) -> Trial:
        # A new object, because Optuna's study keeps the trials that it has read for a sampler until its next `ask`.
        study = optuna.load_study(
            study_name=self.name,
            storage=self._study._storage,
            sampler=proposer.create_sampler(rank),
            pruner=self._study.pruner,
        )
        return proposer.propose(optuna.trial.Trial(study, key))

    def add_earlier(self, trials: Sequence[FrozenTrial]) -> None:
        """Add trials of an earlier study, which inform the sampler, unless they have been added before.

        Args:
            trials: the trials, with distributions of this search, and with the attribute WARM_START.
        """
        added = {trial.user_attrs.get(WARM_START) for trial in self._trials()}
        for trial in trials:
            if trial.user_attrs[WARM_START] not in added:
                self._call(partial(self._study.add_trial, trial))

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return the distribution of each searched setting in the study's trials."""
        return {name: each for trial in self._trials() for name, each in trial.distributions.items()}

    def is_budget_left(self, search: SearchSpec) -> bool:
        """Return whether a search may start another trial."""
        if search.hours is not None and self.hours_used() >= search.hours:
            return False
        if search.trials is not None:
            return self._num_proposed() < search.trials
        latest = [trial for trial in self._trials() if _was_proposed(trial)][-MAX_REPEATS:]
        return len(latest) < MAX_REPEATS or not all(REPEATS in trial.user_attrs for trial in latest)

    def hours_used(self) -> float:
        """Return how long all ended trials took together, in hours."""
        return sum(entry.attributes.get("seconds", 0.0) for entry in self.entries().values()) / 3600

    def _num_proposed(self, before: int | None = None) -> int:
        """Return how many trials a search has proposed.

        Args:
            before: id of a trial in the storage; only earlier trials are counted. None counts all trials.
        """
        return sum(_was_proposed(trial) for trial in self._trials() if before is None or trial._trial_id < before)

    def _trials(self) -> list[FrozenTrial]:
        """Return all trials in the storage, from Optuna's cache if they have ended."""
        return self._call(lambda: self._study.get_trials(deepcopy=False))

    def _repeat(self, key: int, earlier: StorageEntry) -> None:
        """Give a trial the result of an earlier trial with the same settings, which would have the same result."""
        self._set_attributes(key, {REPEATS: earlier.trial.id})
        if earlier.state == TrialState.COMPLETE:
            values = self._call(lambda: self._storage.get_trial(earlier.key)).values
            self._set_state(key, TrialState.COMPLETE, values)
        else:
            self._set_state(key, TrialState.FAIL)

    def num_repeats(self) -> int:
        """Return how many trials of a search repeated the settings of earlier ones, so that they were not run."""
        return sum(REPEATS in trial.user_attrs for trial in self._trials())

    def num_earlier(self) -> int:
        """Return how many trials of earlier studies inform the sampler of a search."""
        return sum(WARM_START in trial.user_attrs for trial in self._trials())

    def use_pruner(self, pruner: BasePruner) -> None:
        """Set the pruner that `decide_pruning` asks."""
        self._study.pruner = pruner

    def decide_pruning(self, claim: Claim, percent: int, value: float) -> bool:
        """Record an evaluation of a running trial, and decide and record whether the trial is pruned.

        Args:
            claim: the trial.
            percent: how much of the run is done, in percent.
            value: the compared metric.
        """
        self._call(lambda: self._storage.set_trial_intermediate_value(claim.key, percent, value))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of a metric that is not defined; such trials are pruned
            is_pruned = bool(
                self._call(lambda: self._study.pruner.prune(self._study, self._storage.get_trial(claim.key)))
            )
        if is_pruned:
            self._set_attributes(claim.key, {PRUNED_AT: percent})
        return is_pruned

    def pause(self, claim: Claim, **attributes: Any) -> None:
        """Record that a trial has been paused where other trials fork it.

        Args:
            claim: the trial.
            **attributes: attributes to store with the trial.
        """
        self.set_attributes(claim, **attributes, **{PAUSED: True})
        self._set_state(claim.key, TrialState.PRUNED)

    def prune(self, claim: Claim, **attributes: Any) -> None:
        """Record that a pruned trial has ended.

        Args:
            claim: the trial.
            **attributes: attributes to store with the trial.
        """
        self.set_attributes(claim, **attributes)
        self._set_state(claim.key, TrialState.PRUNED)

    def rerun_failed(self) -> int:
        """Add the failed trials of a search to the waiting trials, and return their number."""
        failed = [entry for entry in self.entries().values() if entry.status == "failed"]
        for entry in failed:
            stored = self._call(partial(self._storage.get_trial, entry.key))
            self._add_copy(stored, TrialState.WAITING, {})
        return len(failed)

    def promote(self, entry: StorageEntry) -> None:
        """Add a pruned trial to the waiting trials. It continues from its checkpoint, and is not pruned again."""
        stored = self._call(lambda: self._storage.get_trial(entry.key))
        self._add_copy(stored, TrialState.WAITING, {PROMOTED: True, "seconds": entry.attributes.get("seconds", 0.0)})

    def requeue_killed(self, claim: Claim) -> None:
        """Requeue a trial whose process was killed; after MAX_DEATHS kills, record it as failed instead."""
        self._end_dead_trial(claim.key)

    def _set_state(self, key: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Set a trial's state; return False if it has already ended differently, after its worker was declared dead."""
        try:
            return self._call(lambda: self._storage.set_trial_state_values(key, state, values))
        except UpdateFinishedTrialError:
            # The trial has the wanted state if an earlier attempt of this call succeeded, but its response was lost.
            return self._call(lambda: self._storage.get_trial(key)).state == state

    def _end_dead_trial(self, key: int) -> None:
        with suppress(UpdateFinishedTrialError):  # another process was faster and has requeued the trial
            self._call(lambda: self._storage.set_trial_state_values(key, TrialState.FAIL))
            self._requeue_or_fail(self._call(lambda: self._storage.get_trial(key)))

    def requeue_dead_trials(self) -> None:
        """Requeue running trials whose worker died.

        Dead workers of this machine are noticed immediately, dead workers elsewhere by their missing heartbeats. After
        an outage of the storage, workers elsewhere first get the time to send a heartbeat again.
        """
        for entry in self.entries().values():
            if entry.state == TrialState.RUNNING and _worker_has_died(entry.attributes):
                self._end_dead_trial(entry.key)
        outage = self.retry_policy.last_outage
        if outage is None or time.monotonic() - outage > GRACE_SECONDS:
            with _without_heartbeat_warning():
                self._call(lambda: optuna.storages.fail_stale_trials(self._study))

    def _requeue_or_fail(self, dead_trial: FrozenTrial) -> None:
        """Add a waiting copy of a dead trial to the storage, or a failed copy after MAX_DEATHS deaths.

        A trial whose end was decided before it died is not run again: its copy is pruned.
        """
        attributes = dead_trial.user_attrs
        if "settings" not in attributes:  # its worker died before the trial had settings
            return
        kept = {name: attributes[name] for name in (PROMOTED, PRUNED_AT, "seconds") if name in attributes}
        deaths = attributes.get("deaths", 0) + 1
        if PRUNED_AT in attributes:
            self._add_copy(dead_trial, TrialState.PRUNED, {**kept, "deaths": deaths})
        elif deaths < MAX_DEATHS:
            self._add_copy(dead_trial, TrialState.WAITING, {**kept, "deaths": deaths})
        else:
            error = f"its process was killed {deaths} times (manually or because memory ran out)"
            self._add_copy(dead_trial, TrialState.FAIL, {**kept, "deaths": deaths, "error": error})

    def _add_copy(
        self,
        original: FrozenTrial,
        state: TrialState,
        attributes: Mapping[str, Any],
        values: Sequence[float] | None = None,
    ) -> None:
        identity = {name: original.user_attrs[name] for name in IDENTITY if name in original.user_attrs}
        copy = create_trial(
            state=state,
            values=values,
            params=original.params,
            distributions=original.distributions,
            user_attrs={**identity, COPY_OF: original.number, **attributes},
            system_attrs=original.system_attrs,  # where Optuna's samplers keep their states
            intermediate_values=original.intermediate_values,
        )
        self._call(lambda: self._study.add_trial(copy))

    def _call(self, function: Callable[[], Returned]) -> Returned:
        """Call a function of the storage, and wait for a database that cannot be reached.

        Raises:
            ValueError: if the database remains unreachable or cannot be used.
        """
        with translate_database_errors(self.address):
            return self.retry_policy.call(function)


def _was_proposed(trial: FrozenTrial) -> bool:
    """Return whether a search has proposed a trial, as opposed to a copy or a trial whose worker died at once."""
    attributes = trial.user_attrs
    is_incomplete = not {"settings", REPEATS} & attributes.keys()
    died_at_once = is_incomplete and (trial.state == TrialState.FAIL or _worker_has_died(attributes))
    return not died_at_once and not {COPY_OF, WARM_START, DROPPED} & attributes.keys()


def _worker_attributes(worker: str) -> dict[str, Any]:
    """Return the attributes of a trial that identify its worker, which is this process."""
    process = {"pid": os.getpid(), "started": psutil.Process().create_time()}
    devices = {"devices": os.environ[VISIBLE_DEVICES]} if VISIBLE_DEVICES in os.environ else {}
    return {"worker": worker, "host": socket.gethostname(), **process, **devices}


def _worker_has_died(attributes: Mapping[str, Any]) -> bool:
    """Return whether a trial's worker ran on this machine and no longer exists."""
    if attributes.get("host") != socket.gethostname() or "started" not in attributes:
        return False
    pid: int = attributes["pid"]
    try:
        return not is_alive(pid) or psutil.Process(pid).create_time() != attributes["started"]
    except psutil.NoSuchProcess:
        return True


@contextmanager
def _without_heartbeat_warning() -> Iterator[None]:
    """Suppress the warning that heartbeats are experimental, as they have been since Optuna 2.9."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield

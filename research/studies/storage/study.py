"""The study's storage: an Optuna study whose trials are runs, in a local file or in a database that machines share."""

from __future__ import annotations

import json
import os
import socket
import time
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import text

from heads.registry import UnknownNameError, describe_unknown
from research.studies.devices import VISIBLE
from research.studies.grid import StudySpec, Trial
from research.studies.storage.bulk import insert_trials
from research.studies.storage.database import (
    STORAGE_FILE,
    engine_arguments,
    lock_from_the_beginning,
    reporting,
    without_password,
)
from research.studies.storage.retry import Heartbeat, RetryPolicy, Returned
from research.studies.storage.trials import DONE, OPEN, Entry, read_entry, waiting_trials
from research.system.processes import is_alive

HEARTBEAT_SECONDS = 10
GRACE_SECONDS = 60
"""A worker that was not heard of for so long is taken for dead by others, on whatever machine it was."""
MANY_TRIALS = 20
"""Trials that are quicker to read with all others than one by one."""
_COMPARED = ("metric", "split")
MAX_DEATHS = 3
"""Workers that may die over a trial before it counts as failed."""

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class Claim:
    """A trial that this worker has, and nobody else."""

    trial: Trial
    """Which one."""
    key: int
    """Its number in the storage, over all studies there."""


class Study:
    """One study in a storage.

    Args:
        name: the study's.
        address: the storage's, as SQLAlchemy writes it: sqlite:///runs/a/study.db, postgresql+psycopg://...
        must_exist: whether a study that is not there is refused instead of made.
        higher_is_better: which way the metric is better; a study that is there keeps what it began with.
    Raises:
        ValueError: if the storage cannot be reached, or has no such study.
    """

    def __init__(self, name: str, address: str, *, must_exist: bool = False, higher_is_better: bool = True) -> None:
        self.name, self.address = name, address
        self.patience = RetryPolicy(f"The study's storage {without_password(address)}")
        file = Path(address.removeprefix("sqlite:///"))
        if must_exist and address.startswith("sqlite:///") and not file.exists():  # SQLite would make an empty one
            raise ValueError(
                f"There is no storage {file}; a study's own lies in its directory, runs/<name>/{STORAGE_FILE}."
            )
        with reporting(address), _with_heartbeats():
            self._storage = RDBStorage(
                address,
                engine_kwargs=engine_arguments(address),
                heartbeat_interval=HEARTBEAT_SECONDS,
                grace_period=GRACE_SECONDS,
                heartbeat_stale_trial_callback=lambda _, trial: self._try_again(trial),
            )
            if address.startswith("sqlite"):
                lock_from_the_beginning(self._storage.engine)
            there = optuna.get_all_study_names(self._storage)
            if must_exist and name not in there:
                raise UnknownNameError(
                    describe_unknown("study", name, there, listed_as=f"Studies in {without_password(address)}")
                )
            self._study = optuna.create_study(
                study_name=name,
                storage=self._storage,
                direction="maximize" if higher_is_better else "minimize",
                load_if_exists=True,
            )
            self._id = self._storage.get_study_id_from_name(name)
            self._read: dict[int, Entry | None] = {}

    def __enter__(self) -> Study:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections to the storage back."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    def describe(self, spec: Mapping[str, Any]) -> str | None:
        """Keep what the study is with it, for workers and for dashboards.

        Trials' values in the storage stay those of the metric that the study began with, also where its report compares
        another one now: values of two metrics would be compared with each other.

        Returns:
            What is to be said of that, or None.
        """

        def keep() -> dict[str, Any]:
            first = json.loads(self._study.user_attrs.get("spec", json.dumps(spec, default=str)))
            kept = {name: first[name] for name in _COMPARED}
            self._study.set_user_attr("spec", json.dumps({**spec, **kept}, default=str))
            return kept

        kept = self._call(keep)
        if all(spec[name] == value for name, value in kept.items()):
            return None
        metric = kept["metric"] or "the default metric"
        return f"The study's storage and its table keep {metric} on {kept['split']} rows, with which it began."

    def spec(self) -> StudySpec:
        """Return what the study compares."""
        return self._call(lambda: StudySpec(**json.loads(self._study.user_attrs["spec"])))

    def entries(self) -> dict[str, Entry]:
        """Return the latest of every trial, by its id."""
        self._call(self._read_changed)
        latest: dict[str, Entry] = {}
        for _, entry in sorted(self._read.items()):
            if entry is not None and entry.attributes.get("dropped"):
                latest.pop(entry.trial.id, None)
            elif entry is not None:
                latest[entry.trial.id] = entry
        return latest

    def _read_changed(self) -> None:
        """Read the trials that may have changed: only those that run change while their state stays the same."""
        # Optuna's own reading takes all that are not finished, with all their settings, at every poll.
        statement = text("SELECT trial_id, state FROM trials WHERE study_id = :study")
        with self._storage.engine.connect() as connection:
            rows = connection.execute(statement, {"study": self._id}).all()
        states = {int(key): TrialState[state] for key, state in rows}
        changed = [
            key
            for key, state in states.items()
            if state == TrialState.RUNNING
            or key not in self._read
            or ((entry := self._read[key]) is not None and entry.state != state)
        ]
        if len(changed) > MANY_TRIALS:
            found = self._storage.get_all_trials(self._id, deepcopy=False)
        else:
            found = [self._storage.get_trial(key) for key in changed]
        self._read |= {trial._trial_id: read_entry(trial) for trial in found}

    def add(self, trials: Sequence[Trial], *, again: Iterable[str] = ()) -> int:
        """Add the trials that are not there yet, and return how many these are.

        Args:
            trials: what the study shall have.
            again: ids of trials that are to run once more.
        """
        once_more = set(again)
        asked_at = max((entry.key for entry in self.entries().values()), default=-1)

        def add_missing() -> int:
            # After an outage some may be there already, added by the attempt before it.
            known = self.entries()
            new = [
                trial
                for trial in trials
                if trial.id not in known or (trial.id in once_more and known[trial.id].key <= asked_at)
            ]
            waiting = waiting_trials(new, trials, self._storage.get_all_trials(self._id, deepcopy=False))
            insert_trials(self._storage, self._id, waiting)
            return len(new)

        return self._call(add_missing)

    def drop_waiting(self, kept: Collection[str]) -> int:
        """Remove trials that wait, and return how many; a later grid that asks for one adds it again.

        Args:
            kept: ids of those that stay.
        """
        num_dropped = 0
        for entry in self.entries().values():
            # Claimed first, so that no worker can begin it in the meantime.
            is_other = entry.state == TrialState.WAITING and entry.trial.id not in kept
            if is_other and self._call(partial(self._take, entry.key)):
                self._note(entry.key, {"dropped": True})
                self._end(entry.key, TrialState.FAIL)
                num_dropped += 1
        return num_dropped

    def claim(self, worker: str) -> Claim | None:
        """Take a trial that waits, the first in the order of the grid, or return None if none does.

        Args:
            worker: who takes it, in words.
        """
        for entry in self.entries().values():  # not those that a later entry of the same trial has replaced
            if entry.state == TrialState.WAITING and self._call(partial(self._take, entry.key)):
                self._note(entry.key, {"worker": worker, "host": socket.gethostname(), **_this_process()})
                return Claim(entry.trial, entry.key)
        return None

    def _take(self, key: int) -> bool:
        # First, so that a worker that is killed right after its claim is found to be dead.
        self._storage.record_heartbeat(key)
        try:
            return self._storage.set_trial_state_values(key, TrialState.RUNNING)
        except UpdateFinishedTrialError:
            return False

    @contextmanager
    def heartbeats(self, claim: Claim) -> Iterator[None]:
        """Let the storage know that this worker lives, as long as it works on a trial."""
        heartbeat = Heartbeat(lambda: self._storage.record_heartbeat(claim.key), HEARTBEAT_SECONDS)
        heartbeat.start()
        try:
            yield
        finally:
            heartbeat.stop()

    def note(self, claim: Claim, **facts: Any) -> None:
        """Keep facts with a trial: plain values."""
        self._note(claim.key, facts)

    def _note(self, key: int, facts: Mapping[str, Any]) -> None:
        for name, value in facts.items():
            with suppress(UpdateFinishedTrialError):
                self._call(partial(self._storage.set_trial_user_attr, key, name, value))

    def finish(self, claim: Claim, value: float | None, metrics: Mapping[str, Any], **facts: Any) -> None:
        """Record that a trial is finished, also if its worker was taken for dead in the meantime.

        Args:
            claim: which one.
            value: of the metric that is compared; None where it is not defined.
            metrics: all of them, by split.
            **facts: plain values to keep with it.
        """
        # Optuna completes no trial without a value.
        state, values = (TrialState.PRUNED, None) if value is None else (TrialState.COMPLETE, [value])
        self.note(claim, **facts, metrics=metrics)
        if not self._end(claim.key, state, values):
            self._finish_late(claim, state, values, {**facts, "metrics": metrics})

    def _finish_late(
        self, claim: Claim, state: TrialState, values: Sequence[float] | None, facts: Mapping[str, Any]
    ) -> None:
        """Keep the result of a worker that was taken for dead: its trial waits once more, or runs, or failed."""
        entry = self.entries()[claim.trial.id]
        if entry.state in DONE:
            return
        if entry.state in OPEN:
            self._note(entry.key, facts)
            if self._end(entry.key, state, values):
                return
        died = self._call(lambda: self._storage.get_trial(claim.key))
        self._add_again(died, state, {**facts, "directory": died.user_attrs.get("directory")}, values)

    def fail(self, claim: Claim, error: str) -> None:
        """Say that a trial failed, and why."""
        self.note(claim, error=error)
        self._end(claim.key, TrialState.FAIL)

    def put_back(self, claim: Claim) -> None:
        """Let a trial that was interrupted wait again."""
        self._end(claim.key, TrialState.WAITING)

    def try_again(self, claim: Claim) -> None:
        """Let a trial whose process was killed wait again, unless that happened too often."""
        self._end_dead(claim.key)

    def _end(self, key: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Set a trial's state; return whether it was still open: its worker may have been taken for dead."""
        try:
            return self._call(lambda: self._storage.set_trial_state_values(key, state, values))
        except UpdateFinishedTrialError:
            # Or this call was made twice, since the first answer was lost.
            return self._call(lambda: self._storage.get_trial(key)).state == state

    def _end_dead(self, key: int) -> None:
        with suppress(UpdateFinishedTrialError):  # somebody else was faster, and let it wait again
            self._call(lambda: self._storage.set_trial_state_values(key, TrialState.FAIL))
            self._try_again(self._call(lambda: self._storage.get_trial(key)))

    def requeue_dead_trials(self) -> None:
        """Let trials whose worker died wait again: at once those of this machine, others when they were long silent.

        After an outage of the storage nobody could be heard: workers elsewhere get the time to report again.
        """
        for entry in self.entries().values():
            if entry.state == TrialState.RUNNING and _has_died(entry.attributes):
                self._end_dead(entry.key)
        outage = self.patience.last_outage
        if outage is None or time.monotonic() - outage > GRACE_SECONDS:
            with _with_heartbeats():
                self._call(lambda: optuna.storages.fail_stale_trials(self._study))

    def _try_again(self, died: FrozenTrial) -> None:
        deaths = died.user_attrs.get("deaths", 0) + 1
        if deaths < MAX_DEATHS:
            self._add_again(died, TrialState.WAITING, {"deaths": deaths})
        else:
            error = f"its process was killed {deaths} times (by hand, or out of memory)"
            self._add_again(died, TrialState.FAIL, {"deaths": deaths, "error": error})

    def _add_again(
        self, before: FrozenTrial, state: TrialState, facts: Mapping[str, Any], values: Sequence[float] | None = None
    ) -> None:
        kept = {name: before.user_attrs[name] for name in ("id", "arm", "seed", "axes", "settings")}
        again = create_trial(
            state=state,
            values=values,
            params=before.params,
            distributions=before.distributions,
            user_attrs={**kept, **facts},
        )
        self._call(lambda: self._study.add_trial(again))

    def _call(self, function: Callable[[], Returned]) -> Returned:
        """Return a storage's answer; a database that is out of reach is waited for.

        Raises:
            ValueError: if it stays so, or cannot be used.
        """
        with reporting(self.address):
            return self.patience.call(function)


def _this_process() -> dict[str, Any]:
    facts = {"pid": os.getpid(), "started": psutil.Process().create_time()}
    return {**facts, "devices": os.environ[VISIBLE]} if VISIBLE in os.environ else facts


def _has_died(attributes: Mapping[str, Any]) -> bool:
    """Return whether a worker of this machine is known to be no more."""
    if attributes.get("host") != socket.gethostname() or "started" not in attributes:
        return False
    pid: int = attributes["pid"]
    try:
        return not is_alive(pid) or psutil.Process(pid).create_time() != attributes["started"]
    except psutil.NoSuchProcess:
        return True


@contextmanager
def _with_heartbeats() -> Iterator[None]:
    """Hold back the word that heartbeats are experimental, as they have been since Optuna 2.9."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield

"""Trials that are inserted in bulk equal those that Optuna inserts one by one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.exc import SQLAlchemyError

from research.studies.storage.bulk import insert_trials


def waiting_trial(head: str, lr: float) -> FrozenTrial:
    return create_trial(
        state=TrialState.WAITING,
        params={"head": head, "lr": lr},
        distributions={"head": CategoricalDistribution(["linear", "lstm"]), "lr": FloatDistribution(0, 1)},
        user_attrs={"arm": head, "settings": {"lr": lr, "freeze": ["encoder"]}},
    )


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[RDBStorage]:
    storage = RDBStorage(f"sqlite:///{tmp_path / 'study.db'}")
    yield storage
    storage.remove_session()
    storage.engine.dispose()


def test_inserted_trials_equal_those_that_optuna_adds(storage: RDBStorage) -> None:
    trials = [waiting_trial("linear", 0.5), waiting_trial("lstm", 0.25), waiting_trial("lstm", 0.5)]
    by_optuna, in_bulk = (optuna.create_study(storage=storage, study_name=name) for name in ("by_optuna", "in_bulk"))
    for trial in trials:
        by_optuna.add_trial(trial)
    insert_trials(storage, storage.get_study_id_from_name("in_bulk"), trials[:1])
    insert_trials(storage, storage.get_study_id_from_name("in_bulk"), trials[1:])
    expected, actual = (
        [
            (trial.number, trial.state, trial.params, trial.distributions, trial.user_attrs)
            for trial in study.get_trials()
        ]
        for study in (by_optuna, in_bulk)
    )
    assert actual == expected
    assert [number for number, *_ in actual] == [0, 1, 2]


def test_failed_insert_adds_no_trials(storage: RDBStorage) -> None:
    study = optuna.create_study(storage=storage, study_name="a")
    study_id = storage.get_study_id_from_name("a")
    with storage.engine.begin() as connection:
        # Inserting the second of the two trials, whose head is lstm, will fail.
        connection.exec_driver_sql(
            "CREATE TRIGGER full BEFORE INSERT ON trial_user_attributes WHEN NEW.value_json LIKE '%lstm%' "
            "BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
        )
    with pytest.raises(SQLAlchemyError, match="disk is full"):
        insert_trials(storage, study_id, [waiting_trial("linear", 0.5), waiting_trial("lstm", 0.25)])
    assert study.get_trials() == []
    insert_trials(storage, study_id, [waiting_trial("linear", 0.5)])
    assert len(study.get_trials()) == 1

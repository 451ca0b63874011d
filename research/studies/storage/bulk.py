"""Add many trials to an Optuna study in one transaction.

Optuna's own `add_trial` takes a transaction and about twenty statements for each: seconds for a few hundred trials, and
an outage of the database would leave a part of the grid.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from optuna.distributions import distribution_to_json
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial
from sqlalchemy.exc import SQLAlchemyError


def insert_trials(storage: RDBStorage, study_id: int, trials: Sequence[FrozenTrial]) -> None:
    """Add trials that wait: their parameters and attributes, and no values.

    Args:
        storage: where.
        study_id: number of the study there.
        trials: in the order in which they shall be taken.
    """
    session = storage.scoped_session()
    try:
        # Numbers of trials count within a study: nobody else may add some at the same time.
        models.StudyModel.find_or_raise_by_id(study_id, session, for_update=True)
        first = session.query(models.TrialModel).filter(models.TrialModel.study_id == study_id).count()
        session.add_all(_rows(study_id, first + place, trial) for place, trial in enumerate(trials))
        session.commit()
    except SQLAlchemyError:
        session.rollback()
        raise
    finally:
        session.close()


def _rows(study_id: int, number: int, trial: FrozenTrial) -> models.TrialModel:
    row = models.TrialModel(study_id=study_id, number=number, state=trial.state)
    row.params = [
        models.TrialParamModel(
            param_name=name,
            param_value=trial.distributions[name].to_internal_repr(value),
            distribution_json=distribution_to_json(trial.distributions[name]),
        )
        for name, value in trial.params.items()
    ]
    row.user_attributes = [
        models.TrialUserAttributeModel(key=key, value_json=json.dumps(value)) for key, value in trial.user_attrs.items()
    ]
    return row

"""Add many trials to an Optuna study in one transaction.

Optuna's own `add_trial` needs one transaction and about twenty statements per trial. A few hundred trials would take
seconds, and an outage of the database in between would leave only a part of the grid in the storage.
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
    """Add waiting trials: their parameters and user attributes, but no objective values.

    Args:
        storage: the storage.
        study_id: id of the study in the storage.
        trials: the trials, in the order in which workers should take them.
    """
    session = storage.scoped_session()
    try:
        # Trial numbers are counted per study, so no other process may add trials at the same time.
        models.StudyModel.find_or_raise_by_id(study_id, session, for_update=True)
        first_number = session.query(models.TrialModel).filter(models.TrialModel.study_id == study_id).count()
        session.add_all(_trial_model(study_id, first_number + index, trial) for index, trial in enumerate(trials))
        session.commit()
    except SQLAlchemyError:
        session.rollback()
        raise
    finally:
        session.close()


def _trial_model(study_id: int, number: int, trial: FrozenTrial) -> models.TrialModel:
    model = models.TrialModel(study_id=study_id, number=number, state=trial.state)
    model.params = [
        models.TrialParamModel(
            param_name=name,
            param_value=trial.distributions[name].to_internal_repr(value),
            distribution_json=distribution_to_json(trial.distributions[name]),
        )
        for name, value in trial.params.items()
    ]
    model.user_attributes = [
        models.TrialUserAttributeModel(key=key, value_json=json.dumps(value)) for key, value in trial.user_attrs.items()
    ]
    return model

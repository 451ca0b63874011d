"""Functions that users call from Python: their messages name arguments instead of flags."""

from __future__ import annotations

from research.inference import predict as predictions
from research.inference import saved_model
from research.inference.predict_settings import PredictSettings
from research.settings.python_arguments import naming_arguments

load_model = naming_arguments()(saved_model.load_model)
predict = naming_arguments(PredictSettings)(predictions.predict)

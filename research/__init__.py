"""Fine-tune pretrained encoders with your own heads and hooks.

Names are imported on first use (PEP 562), so that `--help` does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from research.data.prepare.cleaning import register_cleaning
    from research.data.sources.base import DataSource, FileSource, NamedSource, PathSource, register_data
    from research.edits.base import register_edit
    from research.inference.from_python import load_model, predict
    from research.inference.predict_settings import PredictSettings
    from research.learning.objectives import register_objective
    from research.learning.optimizers.base import OptimizerKind, register_optimizer
    from research.learning.schedules import register_schedule
    from research.model.encoder_with_head import EncoderWithHead, EncoderWithHeadConfig
    from research.runner.experiment import run_experiment
    from research.runner.run_result import RunResult
    from research.settings.config import RunConfig
    from research.tasks.base import Task, register_task
    from research.training.hook import Hook, register_hook

__all__ = [
    "DataSource",
    "EncoderWithHead",
    "EncoderWithHeadConfig",
    "FileSource",
    "Hook",
    "NamedSource",
    "OptimizerKind",
    "PathSource",
    "PredictSettings",
    "RunConfig",
    "RunResult",
    "Task",
    "load_model",
    "predict",
    "register_cleaning",
    "register_data",
    "register_edit",
    "register_hook",
    "register_objective",
    "register_optimizer",
    "register_schedule",
    "register_task",
    "run_experiment",
]

_MODULES = {
    "DataSource": "research.data.sources.base",
    "FileSource": "research.data.sources.base",
    "EncoderWithHead": "research.model.encoder_with_head",
    "EncoderWithHeadConfig": "research.model.encoder_with_head",
    "Hook": "research.training.hook",
    "NamedSource": "research.data.sources.base",
    "OptimizerKind": "research.learning.optimizers.base",
    "PathSource": "research.data.sources.base",
    "PredictSettings": "research.inference.predict_settings",
    "RunConfig": "research.settings.config",
    "RunResult": "research.runner.run_result",
    "Task": "research.tasks.base",
    "load_model": "research.inference.from_python",
    "predict": "research.inference.from_python",
    "register_cleaning": "research.data.prepare.cleaning",
    "register_data": "research.data.sources.base",
    "register_edit": "research.edits.base",
    "register_hook": "research.training.hook",
    "register_objective": "research.learning.objectives",
    "register_optimizer": "research.learning.optimizers.base",
    "register_schedule": "research.learning.schedules",
    "register_task": "research.tasks.base",
    "run_experiment": "research.runner.experiment",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'research' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULES[name]), name)

"""Fine-tune pretrained encoders with your own heads and hooks.

Names are imported when they are first used (PEP 562), so that `--help` needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from research.config import RunConfig
    from research.data.cleaning import register_cleaning
    from research.edits.base import register_edit
    from research.experiment import run_experiment
    from research.hooks.base import Hook, register_hook
    from research.model import EncoderWithHead, EncoderWithHeadConfig
    from research.objectives import register_objective
    from research.schedules import register_schedule

__all__ = [
    "EncoderWithHead",
    "EncoderWithHeadConfig",
    "Hook",
    "RunConfig",
    "register_cleaning",
    "register_edit",
    "register_hook",
    "register_objective",
    "register_schedule",
    "run_experiment",
]

_MODULES = {
    "EncoderWithHead": "research.model",
    "EncoderWithHeadConfig": "research.model",
    "Hook": "research.hooks.base",
    "RunConfig": "research.config",
    "register_cleaning": "research.data.cleaning",
    "register_edit": "research.edits.base",
    "register_hook": "research.hooks.base",
    "register_objective": "research.objectives",
    "register_schedule": "research.schedules",
    "run_experiment": "research.experiment",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'research' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULES[name]), name)

"""The head of this model, and the cleaning steps that its texts need."""

from __future__ import annotations

from collections.abc import Callable

# An export replaces these two definitions with those of the model.
from heads.linear import LinearHead as HeadClass

CLEANING_STEPS: tuple[Callable[[str], str], ...] = ()

__all__ = ["CLEANING_STEPS", "HeadClass"]

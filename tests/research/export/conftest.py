"""Trained models to export."""

from tests.research.inference.conftest import trained_run

__all__ = ["trained_run"]

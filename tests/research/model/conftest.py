"""A fixture that saves a tiny model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.research.model.tiny_encoders import tiny_model


@pytest.fixture
def saved_model(tmp_path: Path) -> Path:
    """Save a tiny BERT with a head, and return its folder."""
    tiny_model("bert").save_pretrained(tmp_path)
    return tmp_path

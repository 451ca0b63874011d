"""A fixture that saves a tiny model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.research.model.tiny_encoders import tiny_model


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """The directory of a saved tiny BERT with a head."""
    tiny_model("bert").save_pretrained(tmp_path)
    return tmp_path

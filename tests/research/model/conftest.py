"""A fixture with a saved model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.research.model.tiny_encoders import tiny_model


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    tiny_model("bert").save_pretrained(tmp_path)
    return tmp_path

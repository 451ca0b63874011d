"""Fixtures that load streamed rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import pytest

from research.data.prepare.load import Splits
from tests.builders.parquet_shards import write_review_shards
from tests.research.data.conftest import Loader


class LoadStreamed(Protocol):
    def __call__(self, data: Path | str, **settings: Any) -> Splits: ...


@pytest.fixture
def load_streamed(load: Loader) -> LoadStreamed:
    """Return a function that loads data whose training rows are streamed."""

    def load_with_streaming(data: Path | str, **settings: Any) -> Splits:
        return load(data, streaming=True, **settings)

    return load_with_streaming


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """A folder with three shards of training rows, and files for validation and test rows."""
    return write_review_shards(tmp_path / "shards")

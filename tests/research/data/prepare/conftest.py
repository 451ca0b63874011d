"""Fixtures that write files, or ingest rows, with given labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from research.data.prepare.columns import Columns
from research.data.prepare.ingest import IngestedRows, ingest
from research.data.sources.bad_rows import BadRows
from research.data.sources.json_tables import JsonLinesTable
from research.data.sources.split_names import SPLIT_NAMES
from tests.research.data.conftest import WriteJsonl
from tests.research.data.prepare.labelled_rows import rows_with_labels
from tests.research.data.sources.small_files import SUFFIXES_THAT_ALLOW_ANY_LABEL, write_file

WriteLabels = Callable[..., Path]
"""Function that takes labels, writes a file of rows with these labels, and returns its path."""
COLUMNS = Columns(text="text", text_pair=None, label=("label",))
"""Columns of the ingested rows."""


class IngestLabels(Protocol):
    def __call__(self, *labels: Any, split: str = ...) -> IngestedRows: ...


@pytest.fixture(params=SUFFIXES_THAT_ALLOW_ANY_LABEL)
def write_labels(request: pytest.FixtureRequest, tmp_path: Path) -> WriteLabels:
    """Return a function that writes 20 rows per label, in one of the file types whose labels may be any string."""

    def write(*labels: str) -> Path:
        rows = [(row["text"], row["label"]) for row in rows_with_labels(*labels)]
        return write_file(tmp_path / f"labelled{request.param}", rows)

    return write


@pytest.fixture
def ingest_labels(write_jsonl: WriteJsonl, tmp_path: Path) -> IngestLabels:
    """Return a function that ingests one row per given label. Rows with missing labels are kept."""

    def ingest_rows(*labels: Any, split: str = "train") -> IngestedRows:
        path = write_jsonl(
            [{"text": f"{split} {row}", "label": label} for row, label in enumerate(labels)], f"{split}.jsonl"
        )
        return ingest(
            [JsonLinesTable(path, path.name)],
            SPLIT_NAMES.index(split),  # number of the first table; here, each split has one table
            COLUMNS,
            str,  # no cleaning: texts are returned unchanged
            label_separator=None,
            keep_unlabelled=True,
            bad=BadRows("error"),
            path=tmp_path / f"{split}.arrow",
        )

    return ingest_rows

"""Load data sets from the Hugging Face Hub, as far as this can be tested without a network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from research.data.prepare.columns import choose_columns
from research.data.sources.arrow_tables import LoadedTable
from research.settings.config import DataSettings
from tests.limits import HANG_LIMIT
from tests.messages import in_order
from tests.research.data.conftest import Loader

CARD = """---
configs:
- config_name: default
  data_files:
  - {split: train, path: train.parquet}
  - {split: validation, path: validation.parquet}
  - {split: extra, path: extra.parquet}
---
"""
"""Content of the README.md of a data set, which says which split each file holds."""
LOAD_SCRIPT = """
import sys
from pathlib import Path
from research.settings.config import DataSettings
from research.data.prepare.load import load_splits
try:
    load_splits(DataSettings(data="hub:" + sys.argv[2]), Path(sys.argv[1]))
except ValueError as error:
    print(error)
"""


def try_to_load(
    cache_dir: Path, name: str = "nobody/no-such-data:config", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Load a data set from the Hub in a new process, which prints the error if loading fails.

    The `datasets` library reads its environment variables when it is imported, so changing them requires a new process.
    """
    # Nothing listens on this local port, so every connection fails immediately, as if the host name were unknown.
    environment = {"HF_ENDPOINT": "http://127.0.0.1:9", "NO_PROXY": "*", "HF_HOME": str(cache_dir), **environment}
    return subprocess.run(
        [sys.executable, "-c", LOAD_SCRIPT, str(cache_dir / "cache"), name],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=HANG_LIMIT,
    )


def test_unreachable_hub_is_an_error_without_retries(tmp_path: Path) -> None:
    completed = try_to_load(tmp_path)
    assert re.match(in_order("Cannot load", "'nobody/no-such-data'", "HF_HUB_OFFLINE=1"), completed.stdout)
    assert len(completed.stdout.splitlines()) == 1
    assert "Retry" not in completed.stderr


def test_offline_mode_sends_no_request(tmp_path: Path) -> None:
    completed = try_to_load(tmp_path, HF_HUB_OFFLINE="1")
    assert re.match(in_order("Cannot load", "'nobody/no-such-data'"), completed.stdout)


def test_hub_source_loads_a_data_set(tmp_path: Path) -> None:
    # The library loads a local folder like a data set on the Hub; offline mode prevents the request to the Hub.
    (tmp_path / "reviews").mkdir()
    for name in ("train", "validation", "extra"):
        rows = {"text": [f"{name} {row}" for row in range(40)], "label": ["a", "b"] * 20}
        Dataset.from_dict(rows).to_parquet(str(tmp_path / "reviews" / f"{name}.parquet"))
    (tmp_path / "reviews" / "README.md").write_text(CARD)
    completed = try_to_load(tmp_path, str(tmp_path / "reviews"), HF_HUB_OFFLINE="1")
    assert re.search(in_order("Unused splits", "hub:", ": extra."), completed.stdout)
    # The data set has no test split, so 8 of the 40 training rows become test rows.
    assert re.search(in_order("train 32", "validation 40", "test 8"), completed.stdout)


def test_hub_source_refuses_an_empty_name(load: Loader) -> None:
    with pytest.raises(ValueError, match=r"hub:<dataset>.*'hub:'"):
        load("hub:")


def test_loaded_table_keeps_declared_label_names() -> None:
    features = Features({"idx": Value("int32"), "sentence": Value("string"), "label": ClassLabel(names=["b", "a"])})
    table = LoadedTable(
        Dataset.from_dict({"idx": [0, 1, 2], "sentence": ["x", "y", "z"], "label": [0, 1, -1]}, features), "train"
    )
    columns, _ = choose_columns(table, DataSettings())
    assert columns.names() == ["sentence", "label"]
    assert table.label_names("label") == ("b", "a")
    rows = list(table.rows(columns.names(), report=print))
    assert rows == [(1, 0, ["x", "b"]), (2, 0, ["y", "a"]), (3, 0, ["z", None])]  # row, line (0: none), values

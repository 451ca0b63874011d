"""Read training rows of data sets on the Hub during training, with a local folder in place of the Hub."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from research.data.prepare.load import Splits
from research.data.streaming.checked_rows import CheckedRows
from research.data.streaming.read_buffers import read_buffers
from tests.builders.hub_data_stand_in import HubDataStandIn, hub_data_stand_in
from tests.builders.hub_repository import CARD, write_repository
from tests.builders.parquet_shards import write_review_shards
from tests.limits import HANG_LIMIT
from tests.messages import in_order
from tests.research.data.conftest import Loader

STREAM_SCRIPT = """
import json
import sys
from pathlib import Path
from research.data.prepare.load import load_splits
from research.data.streaming.read_buffers import read_buffers
from research.settings.config import DataSettings
splits = load_splits(DataSettings(data="hub:someone/films", streaming=True), Path(sys.argv[1]))
buffers = read_buffers(splits.streamed, 1600, 0, 0, first=int(sys.argv[2]))
print(json.dumps([splits.num_train, [buffer.ids.tolist() for buffer in buffers], splits.files["train"]]))
"""
"""Code that reads the training rows of a data set of the Hub from a given buffer on."""
DOWNLOAD_SCRIPT = 'import datasets; datasets.load_dataset("someone/films")'


def run_with_hub(server: HubDataStandIn, folder: Path, script: str, *arguments: object, **environment: str) -> str:
    """Run code in a new process, whose Hub is `server`, and return its output.

    The libraries read their environment variables when they are imported, so changing them requires a new process.
    """
    hub = {"HF_ENDPOINT": server.address, "NO_PROXY": "*", "HF_HOME": str(folder / "home")}
    completed = subprocess.run(
        [sys.executable, "-c", script, str(folder / "cache"), *map(str, arguments)],
        env={**os.environ, **hub, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=HANG_LIMIT,
    )
    return completed.stdout


@pytest.fixture(autouse=True)
def _without_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Send no requests to the Hub: the `datasets` library loads a local folder like a data set on the Hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "library")


def read(
    splits: Splits, *, buffer_size: int = 16, seed: int = 0, first: int = 0, num_buffers: int = 4
) -> list[CheckedRows]:
    """Return some buffers of training rows."""
    assert splits.streamed is not None
    buffers = read_buffers(splits.streamed, buffer_size, seed, 0, first=first)
    return list(itertools.islice(buffers, num_buffers))


def test_parquet_files_of_the_hub_are_streamed(load: Loader, tmp_path: Path) -> None:
    splits = load(f"hub:{write_repository(tmp_path / 'data', 'parquet')}", streaming=True)
    assert splits.num_train == 50
    assert [len(rows) for _, rows in splits.items()] == [20, 10]
    assert splits.task.label_names == ("bad", "good")
    buffers = read(splits)
    rows = sorted(
        (int(row_id), text, label)
        for buffer in buffers
        for row_id, text, label in zip(buffer.ids, buffer.texts[0], buffer.labels, strict=True)
    )
    assert rows == [(row, f"train film {row}", row % 2) for row in range(50)]
    assert splits.place_of("train", 3) == "train.parquet, row 4"


def test_the_library_downloads_no_training_rows(load: Loader, tmp_path: Path) -> None:
    load(f"hub:{write_repository(tmp_path / 'data', 'parquet')}", streaming=True)
    assert not (tmp_path / "library").exists() or not list((tmp_path / "library").rglob("*.arrow"))


def test_other_files_of_the_hub_are_read_in_order_again_and_again(load: Loader, tmp_path: Path) -> None:
    splits = load(f"hub:{write_repository(tmp_path / 'data', 'jsonl')}", streaming=True)
    assert splits.num_train is None
    ids = [row for buffer in read(splits, num_buffers=8) for row in buffer.ids.tolist()]
    assert ids == [row % 50 for row in range(128)]
    later = read(splits, first=5, num_buffers=3)
    assert [row for buffer in later for row in buffer.ids.tolist()] == ids[80:]
    assert later[0].texts[0][0] == "train film 30"


def test_label_names_that_only_the_data_set_declares_are_used(load: Loader, tmp_path: Path) -> None:
    folder = write_repository(tmp_path / "data", "parquet")
    for path in folder.glob("*.parquet"):
        pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
    features = "\n".join(
        [
            "dataset_info:",
            "  features:",
            "  - {name: text, dtype: string}",
            "  - {name: label, dtype: {class_label: {names: {'0': bad, '1': good}}}}",
            "---\n",
        ]
    )
    card = CARD.format(suffix="parquet")
    (folder / "README.md").write_text(card.removesuffix("---\n") + features)
    splits = load(f"hub:{folder}", streaming=True)
    assert splits.task.label_names == ("bad", "good")
    assert {label for buffer in read(splits) for label in buffer.labels} == {0, 1}


def test_missing_splits_are_refused(load: Loader, tmp_path: Path) -> None:
    folder = write_repository(tmp_path / "data", "parquet")
    (folder / "README.md").unlink()
    (folder / "validation.parquet").unlink()
    with pytest.raises(ValueError, match=in_order("train, validation and test splits", "no validation split")):
        load(f"hub:{folder}", streaming=True)


@pytest.mark.parametrize(("spec", "expected"), [("hub:", "hub:<dataset>"), ("hub:nobody/nothing", "Cannot load")])
def test_a_data_set_that_does_not_exist_is_refused(load: Loader, spec: str, expected: Any) -> None:
    with pytest.raises(ValueError, match=expected):
        load(spec, streaming=True)


def find_end_of_rows(path: Path) -> int:
    """Return the position at which the footer of a parquet file starts."""
    content = path.read_bytes()
    return len(content) - 8 - int.from_bytes(content[-8:-4], "little")


def test_row_groups_are_requested_over_the_network_when_they_are_needed(tmp_path: Path) -> None:
    # 64 row groups of 100 rows, which are read in pieces of 100 rows. The last of the four buffers has 16 row groups.
    folder = write_review_shards(tmp_path / "data", num_train=6400, num_shards=2, row_group_size=100)
    ends = {path.name: find_end_of_rows(path) for path in folder.glob("train*")}
    results, shares = [], []
    for first in (0, 3):
        with hub_data_stand_in(folder) as server:
            output = run_with_hub(server, tmp_path, STREAM_SCRIPT, first)
        results.append(json.loads(output.splitlines()[-1]))
        num_bytes = sum(stop - start for name, start, stop in server.served if name in ends and stop <= ends[name])
        shares.append(num_bytes / sum(ends.values()))
    (num_train, buffers, files), (_, last, _) = results
    assert (num_train, len(buffers)) == (6400, 4)
    assert sorted(itertools.chain.from_iterable(buffers)) == list(range(6400))
    assert last == buffers[3:]
    assert files == [["train-00000-of-00002.parquet", 0], ["train-00001-of-00002.parquet", 3200]]
    assert shares[1] == pytest.approx(1 / 4, abs=0.02)
    assert 1 <= shares[0] < 1.5  # some rows were also read to guess the columns


def test_an_earlier_download_cannot_be_streamed(tmp_path: Path) -> None:
    with hub_data_stand_in(write_repository(tmp_path / "data", "parquet")) as server:
        run_with_hub(server, tmp_path, DOWNLOAD_SCRIPT)
        output = run_with_hub(server, tmp_path, STREAM_SCRIPT, 0, HF_HUB_OFFLINE="1")
    assert re.search(in_order("ValueError: --streaming expects", "hub:someone/films", "earlier download"), output)

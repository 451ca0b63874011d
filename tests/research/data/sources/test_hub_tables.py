"""Read training rows of data sets on the Hub during training, with a local folder in place of the Hub."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from research.data.prepare.load import Splits
from research.data.streaming.checked_rows import CheckedRows
from research.data.streaming.read_buffers import read_buffers
from tests.builders.hub_repository import CARD, write_repository
from tests.messages import in_order
from tests.research.data.conftest import Loader


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

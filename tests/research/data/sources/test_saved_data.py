"""Load data sets that the `datasets` library saved to disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from research.data.prepare.load import Splits
from tests.file_modes import enforce_file_modes
from tests.research.data.conftest import Loader

FEATURES = Features({"text": Value("string"), "label": ClassLabel(names=["pos", "neg"])})


def make_dataset(name: str, num_rows: int) -> Dataset:
    columns = {"text": [f"{name} {row}" for row in range(num_rows)], "label": [row % 2 for row in range(num_rows)]}
    return Dataset.from_dict(columns, FEATURES)


def labels_by_text(splits: Splits) -> dict[str, int]:
    return {row["text"]: row["label"] for _, split in splits.items() for row in split}


def test_saved_dataset_is_read_with_its_label_names(load: Loader, tmp_path: Path) -> None:
    reversed_dataset = make_dataset("train", 40).select(range(39, -1, -1))
    reversed_dataset.save_to_disk(tmp_path / "saved", num_shards=3)
    splits = load(tmp_path / "saved")
    assert splits.task.label_names == ("pos", "neg")
    assert labels_by_text(splits) == {f"train {row}": row % 2 for row in range(40)}
    texts_by_id = {row["id"]: row["text"] for _, split in splits.items() for row in split}
    assert texts_by_id[0] == "train 39"  # ids follow the order of the saved rows


def test_saved_dict_is_read_with_its_splits(load: Loader, tmp_path: Path) -> None:
    saved = DatasetDict(
        train=make_dataset("train", 40), test=make_dataset("test", 6), unsupervised=make_dataset("rest", 4)
    )
    saved.save_to_disk(tmp_path / "saved", num_shards={"train": 2, "test": 1, "unsupervised": 1})
    splits = load(tmp_path / "saved")
    assert splits.test["text"] == [f"test {row}" for row in range(6)]
    assert splits.task.label_names == ("pos", "neg")
    assert load.reported("Unused splits", "unsupervised")


def test_changed_saved_dict_is_prepared_again(load: Loader, tmp_path: Path) -> None:
    DatasetDict(train=make_dataset("old", 40), test=make_dataset("test", 6)).save_to_disk(tmp_path / "saved")
    load(tmp_path / "saved")
    make_dataset("new", 40).save_to_disk(tmp_path / "saved" / "train")
    assert "new 0" in labels_by_text(load(tmp_path / "saved"))


def test_saved_folder_without_permission_is_refused(load: Loader, tmp_path: Path) -> None:
    make_dataset("train", 40).save_to_disk(tmp_path / "saved")
    (tmp_path / "saved").chmod(0)
    with enforce_file_modes(), pytest.raises(ValueError, match="Permission denied") as caught:
        load(tmp_path / "saved")
    assert str(tmp_path / "saved") in str(caught.value)
    assert "dataset_dict" not in str(caught.value)  # the message is about the folder, not about a file in it

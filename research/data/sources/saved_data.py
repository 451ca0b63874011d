"""Data sources for folders written by `save_to_disk` of the `datasets` library."""

from __future__ import annotations

from pathlib import Path

from research.data.sources.arrow_tables import LoadedTable
from research.data.sources.base import PathSource, Source, identify_files, register_data
from research.data.sources.saved import is_saved_dataset, is_saved_dict, list_saved_files, load_saved, read_split_names
from research.data.sources.split_names import choose_splits
from research.data.sources.text_format import TextFormat


@register_data("saved_splits")
class SavedSplits(PathSource):
    """A folder written by `DatasetDict.save_to_disk`."""

    precedence = 60
    expected = "a folder written by save_to_disk"

    def find_at(self, path: Path, text_format: TextFormat) -> Source | None:
        if not is_saved_dict(path):
            return None
        splits, notes = choose_splits(str(path), read_split_names(path))
        return Source(
            path.resolve().name,
            [[split, identify_files(list_saved_files(path / name))] for name, split in splits.items()],
            lambda _: {split: [LoadedTable(load_saved(path / name), name)] for name, split in splits.items()},
            notes,
        )


@register_data("saved_dataset")
class SavedDataset(PathSource):
    """A folder written by `Dataset.save_to_disk`; all of its rows are training rows."""

    precedence = 61

    def find_at(self, path: Path, text_format: TextFormat) -> Source | None:
        if not path.is_dir() or not is_saved_dataset(path):
            return None
        return Source(
            path.resolve().name,
            identify_files(list_saved_files(path)),
            lambda _: {"train": [LoadedTable(load_saved(path), "train")]},
        )

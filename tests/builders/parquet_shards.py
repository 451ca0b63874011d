"""Write data sets as parquet files with small row groups."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.conftest import WORDS

NUM_TRAIN = 94
"""Number of training rows that `write_review_shards` writes by default."""


def write_review_shards(
    folder: Path, *, num_train: int = NUM_TRAIN, num_shards: int = 3, row_group_size: int = 5, **labels: Sequence[Any]
) -> Path:
    """Write short reviews of different lengths as shards of training rows and one file for each other split.

    Args:
        folder: folder for the files; created if it does not exist.
        num_train: number of training rows.
        num_shards: number of files of training rows.
        row_group_size: maximum number of rows of a row group.
        labels: labels of the rows of a split, instead of `negative` and `positive` in turn.
    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    for split, num_rows in (("train", num_train), ("validation", 19), ("test", 23)):
        texts = []
        for row in range(num_rows):
            words = generator.choice([*WORDS[4 * (1 - row % 2) :][:4], *WORDS[8:]], size=generator.integers(2, 30))
            texts.append(f"{split} {row} {' '.join(words)}")
        of_split = labels.get(split, [("negative", "positive")[row % 2] for row in range(num_rows)])
        table = pa.table({"text": texts, "label": of_split})
        write_shards(table, folder, split, num_shards if split == "train" else 1, row_group_size)
    return folder


def write_shards(table: pa.Table, folder: Path, split: str, num_shards: int, row_group_size: int) -> list[Path]:
    """Write a table as several parquet files, and return their paths."""
    rows_per_shard = -(-table.num_rows // num_shards)
    paths = []
    for number in range(num_shards):
        suffix = f"-{number:05d}-of-{num_shards:05d}" if num_shards > 1 else ""
        paths.append(folder / f"{split}{suffix}.parquet")
        shard = table.slice(number * rows_per_shard, rows_per_shard)
        pq.write_table(shard, paths[-1], row_group_size=row_group_size)
    return paths

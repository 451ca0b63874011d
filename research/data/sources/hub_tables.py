"""Tables of data sets on the Hugging Face Hub whose rows are read over the network when they are needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import DatasetBuilder, Features, IterableDataset
from datasets.packaged_modules.parquet.parquet import Parquet
from huggingface_hub import HfFileSystem

from research.data.sources.arrow_tables import ArrowTable, ParquetTable, names_in_features
from research.data.sources.tables import Table

_HUB = "hf://"
"""Start of the addresses of files on the Hub. A data set can also be a local folder with the layout of a repository."""
_ROWS_PER_READ = 1000
"""Number of rows that are read at a time."""


class HubParquetTable(ParquetTable):
    """A parquet file of a data set on the Hub.

    Args:
        url: address of the file, or its path.
        name: name of the file in messages.
        features: types of the columns that the data set declares. They may name labels that the file does not name.
    """

    def __init__(self, url: str, name: str, features: Features | None) -> None:
        super().__init__(Path(name), name)
        self._url = url
        self._features = features
        self._metadata: pq.FileMetaData | None = None

    def open_bytes(self) -> BinaryIO:
        if self._url.startswith(_HUB):
            # The file system's cache would read several MiB ahead at each position from which a column is read.
            return cast("BinaryIO", HfFileSystem().open(self._url, "rb", cache_type="none"))
        return Path(self._url).open("rb")

    @contextmanager
    def _open(self) -> Iterator[pq.ParquetFile]:
        with self.open_bytes() as content, self._open_parquet(content, self._metadata) as file:
            self._metadata = file.metadata  # so that the footer is requested only once
            yield file

    def label_names(self, column: str) -> tuple[str, ...] | None:
        return super().label_names(column) or names_in_features(self._features, column)


class IterableTable(ArrowTable):
    """A split that the `datasets` library reads row by row. Its number of rows is not known beforehand."""

    def __init__(self, dataset: IterableDataset, name: str) -> None:
        super().__init__(name)
        self._dataset = dataset if dataset.features is not None else dataset._resolve_features()

    def schema(self) -> pa.Schema:
        return self._dataset.features.arrow_schema

    def label_names(self, column: str) -> tuple[str, ...] | None:
        return names_in_features(self._dataset.features, column)

    def batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        for table in self._dataset.select_columns(columns).with_format("arrow").iter(_ROWS_PER_READ):
            yield from table.select(columns).to_batches()


def open_hub_tables(builder: DatasetBuilder, split: str) -> list[Table]:
    """Return the tables of a split: one per file if the files are parquet, otherwise one for the whole split."""
    files = list(builder.config.data_files[split])
    if isinstance(builder, Parquet):
        return [HubParquetTable(url, _name_of(url), builder.info.features) for url in files]
    return [IterableTable(builder.as_streaming_dataset(split), str(split))]


def _name_of(url: str) -> str:
    """Return a file's path in its repository, or its name if it is a local file."""
    _, is_pinned, path = url.partition("@")  # hf://datasets/user/name@commit/path
    return path.partition("/")[2] if url.startswith(_HUB) and is_pinned else Path(url).name

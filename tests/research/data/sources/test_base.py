"""Check the contract of all data sources, and add data sources as users do."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict

from research import FileSource, register_data
from research.data.prepare.load import Splits
from research.data.sources.base import SOURCES, NamedSource, Source, list_file_sources
from research.data.sources.tables import Table
from research.data.sources.text_format import TextFormat
from research.data.sources.text_tables import CsvTable
from research.settings.plugins import import_plugins
from research.system.user_code import hash_user_code
from tests.research.data.conftest import Loader, reviews
from tests.research.data.sources.small_files import write_file
from tests.shipped import shipped_names

Row = tuple[str, str]
ROWS: list[Row] = [(f"a film {row}", ("negative", "positive")[row % 2]) for row in range(30)]
TEST_ROWS: list[Row] = [(f"a plot {row}", ("negative", "positive")[row % 2]) for row in range(10)]


def write_saved_dataset(folder: Path, rows: Sequence[Row]) -> Path:
    Dataset.from_list([{"text": text, "label": label} for text, label in rows]).save_to_disk(folder / "saved")
    return folder / "saved"


def write_saved_splits(folder: Path, rows: Sequence[Row]) -> Path:
    DatasetDict({"train": Dataset.from_list([{"text": text, "label": label} for text, label in rows])}).save_to_disk(
        folder / "saved"
    )
    return folder / "saved"


def write_imdb_release(folder: Path, rows: Sequence[Row]) -> Path:
    for number, (text, label) in enumerate(rows):
        path = folder / "aclImdb" / "train" / label[:3] / f"{number}_5.txt"  # in the folder neg or pos
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder / "aclImdb"


def write_imdb_archive(folder: Path, rows: Sequence[Row]) -> Path:
    with tarfile.open(folder / "aclImdb.tar.gz", "w:gz") as archive:
        archive.add(write_imdb_release(folder, rows), "aclImdb")
    return folder / "aclImdb.tar.gz"


def write_folder(folder: Path, rows: Sequence[Row]) -> Path:
    write_file(folder / "data" / "train.csv", rows)
    return folder / "data"


WRITERS: dict[str, Callable[[Path, Sequence[Row]], Path]] = {
    "saved_dataset": write_saved_dataset,
    "saved_splits": write_saved_splits,
    "aclimdb": write_imdb_release,
    "aclimdb_archive": write_imdb_archive,
    "folder": write_folder,
}
"""Writers for the data sources that do not read a single file."""
SOURCES_WITH_FIXED_ROWS = {"imdb", "rotten_tomatoes", "hub"}
"""Data sources whose rows a test cannot choose. Separate tests check them."""


def rows_with_label_names(splits: Splits) -> list[Row]:
    names = splits.task.label_names
    return sorted((row["text"], names[row["label"]]) for _, split in splits.items() for row in split)


@pytest.mark.parametrize("name", [name for name in shipped_names(SOURCES) if name not in SOURCES_WITH_FIXED_ROWS])
def test_data_source_reads_the_rows_that_were_written(load: Loader, tmp_path: Path, name: str) -> None:
    source = SOURCES[name]
    suffixes = source.suffixes if issubclass(source, FileSource) else [None]
    for suffix in suffixes:
        path = WRITERS[name](tmp_path, ROWS) if suffix is None else write_file(tmp_path / f"data{suffix}", ROWS)
        splits = load(path)
        assert rows_with_label_names(splits) == sorted(ROWS)
        assert splits.task.name == "single_label"
        assert splits.task.label_names == ("negative", "positive")


@pytest.mark.parametrize("suffix", list_file_sources())
def test_files_of_any_type_can_be_splits_of_a_folder(load: Loader, tmp_path: Path, suffix: str) -> None:
    for split, rows in (("train", ROWS), ("test", TEST_ROWS)):
        write_file(tmp_path / "data" / f"{split}{suffix}", rows)
    splits = load(tmp_path / "data")
    assert sorted(splits.test["text"]) == sorted(text for text, _ in TEST_ROWS)
    assert len(splits.train) + len(splits.validation) == len(ROWS)


@pytest.mark.parametrize("suffix", list_file_sources())
@pytest.mark.parametrize(
    "content",
    [b"", b"version https://git-lfs.github.com/spec/v1\n", bytes(range(256)) * 8],
    ids=["empty", "Git LFS pointer", "all bytes"],
)
def test_files_of_any_type_are_refused_if_unreadable(load: Loader, tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"data{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"data{suffix}"):
        load(path)


def test_new_file_type_is_read_and_does_not_invalidate_existing_cache_entries(load: Loader, tmp_path: Path) -> None:
    path = write_file(tmp_path / "data.csv", ROWS)
    load(path)
    entries = sorted(entry.name for entry in load.cache_dir.iterdir())
    with SOURCES.isolated():

        @register_data("bars")
        class Bars(FileSource):
            suffixes = (".bars",)  # csv files separated by |, which CsvTable detects

            def open_table(self, path: Path, name: str, text_format: TextFormat) -> Table:
                return CsvTable(path, name, text_format)

        load(path)
        assert sorted(entry.name for entry in load.cache_dir.iterdir()) == entries
        folder = tmp_path / "folder"
        folder.mkdir()
        (folder / "train.bars").write_text("\n".join(["text|label", *(line.replace(",", "|") for line in reviews(40))]))
        splits = load(folder)
        assert splits.task.label_names == ("label 0", "label 1")
        assert load(folder / "train.bars").train[:] == splits.train[:]
        with pytest.raises(ValueError, match=r"\.bars, \.csv"):
            load("nothing.csv")


PLUGIN = """
from research import FileSource, register_data
from research.data.sources.text_tables import CsvTable

@register_data("mine")
class Mine(FileSource):
    suffixes = (".mine",)

    def open_table(self, path, name, text_format):
        return CsvTable(path, name, text_format)
"""


def test_data_is_read_again_if_the_code_of_a_users_data_source_changes(load: Loader, tmp_path: Path) -> None:
    write_file(tmp_path / "data.csv", ROWS).rename(tmp_path / "data.mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "train.mine").write_bytes((tmp_path / "data.mine").read_bytes())
    plugin = tmp_path / "my_data.py"
    plugin.write_text(PLUGIN)
    with SOURCES.isolated():
        import_plugins([str(plugin)])
        assert rows_with_label_names(load(tmp_path / "data.mine")) == sorted(ROWS)
        load(tmp_path / "folder")
        assert len(list(load.cache_dir.iterdir())) == 2
        plugin.write_text(plugin.read_text() + "# changed\n")  # the hash of the class is computed from this file
        load(tmp_path / "data.mine")
        load(tmp_path / "folder")
        assert len(list(load.cache_dir.iterdir())) == 4  # a second entry for the file, and one for the folder
    with pytest.raises(ValueError, match=r"'\.mine'"):
        load(tmp_path / "data.mine")


def test_duplicate_extensions_and_names_of_data_sources_are_refused(load: Loader, tmp_path: Path) -> None:
    folder = write_file(tmp_path / "data" / "train.csv", ROWS).parent
    with SOURCES.isolated():

        @register_data("mine")
        class Mine(FileSource):
            suffixes = (".csv",)

            def open_table(self, path: Path, name: str, text_format: TextFormat) -> Table:
                return CsvTable(path, name, text_format)

        with pytest.raises(ValueError, match=r"\.csv .*csv and mine"):
            load(folder)
    with pytest.raises(ValueError, match=r"'csv' .* already"):
        register_data("csv")(Mine)


def test_named_source_is_found_by_name_and_suggested_for_similar_names(load: Loader, tmp_path: Path) -> None:
    path = write_file(tmp_path / "data.csv", ROWS)
    with SOURCES.isolated():

        @register_data("my_films")
        class Films(NamedSource):
            def find_named(self) -> Source:
                return Source("my films", ["v1"], lambda _: {"train": [CsvTable(path, "films")]})

        assert rows_with_label_names(load("my_films")) == sorted(ROWS)
        assert hash_user_code(Films) is not None  # so data are read again if the code of the class changes
        with pytest.raises(ValueError, match=r"'my_film'.*'my_films'"):
            load("my_film")

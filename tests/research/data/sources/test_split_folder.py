"""Read folders that hold a file, or a folder of files, for each split."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from tests.file_modes import enforce_file_modes
from tests.messages import in_order
from tests.research.data.conftest import Loader, WriteCsv, WriteJsonl, reviews
from tests.research.data.loaded_rows import rows_in


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train.csv", "more.csv"], r"which split '.*more\.csv'"),
        (["train.csv", "dev.csv", "validation.csv"], r"validation .*: dev\.csv, validation\.csv"),
        (["train.csv", "train.tsv"], r"train .*: train\.csv, train\.tsv"),
        (["test.csv"], r"no train file.* test\.csv"),
    ],
)
def test_folder_with_ambiguous_or_missing_splits_is_refused(
    load: Loader, write_csv: WriteCsv, names: list[str], message: str
) -> None:
    for name in names:
        folder = write_csv(*reviews(10), name=f"data/{name}").parent
    with pytest.raises(ValueError, match=message):
        load(folder)


def test_files_of_a_folder_can_use_alternative_split_names(load: Loader, write_csv: WriteCsv) -> None:
    folder = write_csv(*reviews(6), name="data/Train.csv").parent
    write_csv(*reviews(4), name="data/dev.csv")
    write_csv("only in test,label 1", name="data/test.csv")
    (folder / "README.md").write_text("not data")
    splits = load(folder)
    assert [len(split) for _, split in splits.items()] == [6, 4, 1]
    assert list(splits.train["id"]) == list(range(6))
    assert splits.test[0] == {"id": 0, "text": "only in test", "label": 1}


def test_folder_reads_numbered_shards(load: Loader, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for shard in range(2):
        table = pa.table({"text": [f"shard {shard} row {row}" for row in range(20)], "label": ["a", "b"] * 10})
        pq.write_table(table, tmp_path / "data" / f"train-0000{shard}-of-00002.parquet")
    assert [text for text, _ in rows_in(load(tmp_path / "data"))] == sorted(
        f"shard {shard} row {row}" for shard in range(2) for row in range(20)
    )


def test_splits_of_a_folder_can_be_subfolders(load: Loader, write_csv: WriteCsv) -> None:
    write_csv(*reviews(20), name="data/train/a.csv")
    write_csv(*reviews(6), name="data/validation/a.csv")
    folder = write_csv(*reviews(4), name="data/test/a.csv").parent.parent
    assert [len(split) for _, split in load(folder).items()] == [20, 6, 4]


def test_unreadable_folder_is_refused(load: Loader, write_csv: WriteCsv) -> None:
    folder = write_csv(*reviews(40), name="data/train.csv").parent
    folder.chmod(0)
    with enforce_file_modes(), pytest.raises(ValueError, match=in_order(f"'{folder}'", "Permission denied")):
        load(folder)
    folder.chmod(0o700)


def test_row_ids_identify_file_and_row_despite_blank_lines_and_bad_rows(load: Loader, write_jsonl: WriteJsonl) -> None:
    names = [f"test-{number}-of-3.jsonl" for number in range(3)]
    write_jsonl([{"text": f"train {row}", "label": row % 2} for row in range(40)], name="data/train.jsonl")
    for name in names:
        rows = [{"text": f"{name} {row}", "label": row % 2} for row in range(1, 11)]
        path = write_jsonl([*rows[:4], "", "", *rows[4:9], "broken", rows[9]], name=f"data/{name}")
    splits = load(path.parent, bad_rows="skip")
    # Each file is listed with the id of its first row. A file has 11 rows, of which one is broken.
    assert splits.files["test"] == [(names[0], 0), (names[1], 11), (names[2], 22)]
    assert splits.files["validation"] == splits.files["train"] == [("train.jsonl", 0)]
    first_ids = dict(splits.files["test"])
    ids = {row["text"]: row["id"] for row in splits.test}
    assert len(set(ids.values())) == 30
    for name in names:
        rows_in_file = [*range(1, 10), 11]  # row 10 is broken
        assert [ids[f"{name} {row}"] - first_ids[name] + 1 for row in range(1, 11)] == rows_in_file
        assert splits.place_of("test", ids[f"{name} 10"]) == f"{name}, row 11"


def write_repository(write_csv: WriteCsv, *data_files: str) -> Path:
    """Write the given data files into a folder that looks like a cloned data repository, and return the folder."""
    for name in data_files:
        write_csv(*[f"{name} {row},label {row % 2}" for row in range(20)], name=f"repository/{name}")
    for name in ("README.md", ".gitattributes", ".git/config", "assets/plot.png"):
        path = write_csv(name=f"repository/{name}")
    return path.parents[1]


@pytest.mark.parametrize("config", ["data", "plain_text", "data/en"])
def test_cloned_repository_is_read(load: Loader, write_csv: WriteCsv, config: str) -> None:
    folder = write_repository(write_csv, f"{config}/train-00000-of-00001.csv", f"{config}/test-00000-of-00001.csv")
    splits = load(folder)
    assert len(splits.train) + len(splits.validation) == len(splits.test) == 20
    assert splits.files["test"] == [(f"{config}/test-00000-of-00001.csv", 0)]  # 0 is the id of the first row
    assert load.reported(folder, f"{config}/")
    assert set(load(folder / config).test["text"]) == set(splits.test["text"])


@pytest.mark.parametrize("parent", ["", "data/"])
def test_cloned_repository_with_several_configurations_is_refused(
    load: Loader, write_csv: WriteCsv, parent: str
) -> None:
    folder = write_repository(write_csv, f"{parent}en/train-0-of-1.csv", f"{parent}fr/train/0000.csv")
    with pytest.raises(ValueError, match=rf"'{folder}' .*: {parent}en, {parent}fr\. .*--data '.*/{parent}en'"):
        load(folder)
    assert len(load(folder / parent / "fr").train)


@pytest.mark.parametrize("name", ["test-0-of-1.parquet", "test.csv", "test.json.gz", "test.zip", "test/a.tsv"])
def test_error_about_a_git_lfs_pointer_contains_the_command_to_run(
    load: Loader, write_csv: WriteCsv, name: str
) -> None:
    folder = write_repository(write_csv, "data/train-0-of-1.csv")
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345"
    path = write_csv(header=pointer, name=f"repository/data/{name}")
    for spec in (folder, path):
        with pytest.raises(ValueError, match=in_order(path.name, "git lfs pull")):
            load(spec)


def test_shards_of_unknown_splits_are_reported_as_unused(load: Loader, write_csv: WriteCsv) -> None:
    unused = [f"plain_text/{name}-of-2.csv" for name in ("unsupervised-0", "unsupervised-1", "extra-0")]
    folder = write_repository(write_csv, "plain_text/train-0-of-1.csv", "plain_text/test-0-of-1.csv", *unused)
    load(folder)
    assert load.reported("Unused splits", "plain_text: extra, unsupervised.")
    (folder / "plain_text" / "train-0-of-1.csv").unlink()
    (folder / "plain_text" / "test-0-of-1.csv").unlink()
    with pytest.raises(ValueError, match=r"which split .*-0-of-2.csv'"):
        load(folder / "plain_text")


FEATURES = Features({"text": Value("string"), "label": ClassLabel(names=["pos", "neg"])})


def make_dataset(name: str, num_rows: int) -> Dataset:
    columns = {"text": [f"{name} {row}" for row in range(num_rows)], "label": [row % 2 for row in range(num_rows)]}
    return Dataset.from_dict(columns, FEATURES)


def test_splits_of_a_folder_can_be_saved_datasets(load: Loader, tmp_path: Path) -> None:
    make_dataset("train", 40).save_to_disk(tmp_path / "data" / "train")
    make_dataset("test", 6).save_to_disk(tmp_path / "data" / "test")
    splits = load(tmp_path / "data")
    assert splits.test["text"] == [f"test {row}" for row in range(6)]
    assert splits.files["test"] == [("test", 0)]  # 0 is the id of the first row

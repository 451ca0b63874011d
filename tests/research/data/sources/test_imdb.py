"""Read folders of the unpacked raw IMDB release."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.messages import in_order
from tests.research.data.conftest import Loader, WriteCsv, reviews
from tests.research.data.loaded_rows import rows_by_split


def test_release_folder_is_ordered_by_sentiment_and_number(load: Loader, imdb_release: Path) -> None:
    splits = load(imdb_release)
    assert splits.task.label_names == ("negative", "positive")
    expected = [
        (f"test {folder} review {number}<br />caf\u00e9", label)
        for label, folder in enumerate(("neg", "pos"))
        for number in (0, 9, 10, 100)
    ]
    assert rows_by_split(splits)["test"] == expected
    assert len(splits.train) + len(splits.validation) == 8
    assert rows_by_split(load(imdb_release.parent)) == rows_by_split(splits)  # the folder that contains the release


def test_unusable_reviews_are_reported_with_their_paths(load: Loader, imdb_release: Path) -> None:
    (imdb_release / "train" / "pos" / "9_8.txt").write_bytes(b"caf\xe9")
    (imdb_release / "test" / "neg" / "0_2.txt").write_text(" ")
    with pytest.raises(
        ValueError,
        match=in_order("2 bad rows of 16: ", "train/pos/9_8.txt, row 1: invalid", "test/neg/0_2.txt, row 1: empty"),
    ):
        load(imdb_release)


@pytest.mark.parametrize("create", [os.mkfifo, os.mkdir])
def test_release_folder_refuses_reviews_that_are_not_files(
    load: Loader, tmp_path: Path, create: Callable[[Path], None]
) -> None:
    for sentiment in ("neg", "pos"):
        (tmp_path / "train" / sentiment).mkdir(parents=True)
        (tmp_path / "train" / sentiment / "0_1.txt").write_text("good film")
    create(tmp_path / "train" / "pos" / "1_7.txt")
    with pytest.raises(ValueError, match=r"1_7\.txt is not a regular file"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["validation/a.csv", "test.csv", "dev.json"])
def test_release_folder_with_a_split_that_would_not_be_read_is_refused(
    load: Loader, write_csv: WriteCsv, name: str
) -> None:
    # A csv file that has only a header is a text file with a single line.
    names = [f"{sentiment}/{number}_1.txt" for sentiment in ("pos", "neg") for number in range(9)]
    for row, review in enumerate(names):
        write_csv(header=f"review {row}", name=f"data/train/{review}")
    folder = write_csv(header="notes", name="data/README").parent
    assert sum(len(split) for _, split in load(folder).items()) == 18
    write_csv(*reviews(4), name=f"data/{name}")
    with pytest.raises(ValueError, match=in_order(f"'{folder}'", "train/ and test/", Path(name).parts[0])):
        load(folder)

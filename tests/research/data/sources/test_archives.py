"""Read archives of the raw IMDB release."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path
from typing import Protocol

import pytest

from tests.messages import in_order
from tests.research.data.conftest import Loader
from tests.research.data.loaded_rows import rows_by_split
from tests.research.data.sources.conftest import REVIEWS


class WriteTar(Protocol):
    def __call__(self, files: dict[str, str], *extra: tarfile.TarInfo, name: str = ...) -> Path: ...


@pytest.fixture
def write_tar(tmp_path: Path) -> WriteTar:
    """Return a function that writes a tar archive. It takes texts, by their paths in the archive, and extra members."""

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


@pytest.mark.parametrize("name", ["aclImdb.tar.gz", "reviews.tgz", "reviews.tar"])
@pytest.mark.parametrize("prefix", ["aclImdb/", "./aclImdb/", ""])
def test_archive_has_the_same_rows_as_the_folder(
    load: Loader, imdb_release: Path, write_tar: WriteTar, name: str, prefix: str
) -> None:
    files = {prefix + path: text for path, text in REVIEWS.items()}
    ignored_files = {f"{prefix}train/unsup/0_0.txt": "unlabelled", f"{prefix}train/pos/._9_8.txt": "\x00"}
    assert rows_by_split(load(write_tar(files | ignored_files, name=name))) == rows_by_split(load(imdb_release))


def make_member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    """Return an empty member of an archive, by default a regular file. `link` is what a link points to."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (make_member("../outside.txt"), r"absolute path or '\.\.' in its path: '../outside.txt'"),
        (make_member("aclImdb/train/pos/../../../../outside.txt"), r"absolute path or '\.\.' in its path"),
        (make_member("aclImdb\\..\\..\\outside.txt"), r"absolute path or '\.\.' in its path"),
        (make_member("/outside.txt"), r"absolute path or '\.\.' in its path: '/outside.txt'"),
        (make_member("aclImdb/train/pos/7_7.txt", tarfile.SYMTYPE, "/etc/passwd"), "neither a file nor a folder"),
        (make_member("aclImdb/train/pos/7_7.txt", tarfile.LNKTYPE, "../../x"), "neither a file nor a folder"),
        (make_member("aclImdb/device", tarfile.CHRTYPE), "neither a file nor a folder"),
        (make_member("aclImdb/pipe", tarfile.FIFOTYPE), "neither a file nor a folder"),
    ],
)
def test_archive_with_unsafe_members_is_refused_and_writes_nothing(
    load: Loader, tmp_path: Path, write_tar: WriteTar, extra: tarfile.TarInfo, message: str
) -> None:
    path = write_tar({f"aclImdb/{name}": text for name, text in REVIEWS.items()}, extra)
    with pytest.raises(ValueError, match=message):
        load(path)
    assert list(load.cache_dir.iterdir()) == []
    assert sorted(tmp_path.iterdir()) == [path, load.cache_dir]


def test_damaged_archive_is_refused(load: Loader, write_tar: WriteTar) -> None:
    path = write_tar(REVIEWS)
    content = path.read_bytes()
    uncompressed = gzip.decompress(content)
    flipped = bytearray(content)
    flipped[-6] ^= 1  # a bit of the checksum
    for damaged in (
        content[: len(content) // 2],
        content[:-1],
        bytes(flipped),
        b"not a tar archive",
        uncompressed[:5120],  # cut between two blocks of 512 bytes
        uncompressed[:5000],  # cut within a block
    ):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"aclImdb\.tar\.gz .* tar archive: ."):
            load(path)


def test_archive_without_the_imdb_layout_is_refused(load: Loader, write_tar: WriteTar) -> None:
    with pytest.raises(ValueError, match=in_order("aclImdb.tar.gz", "train/pos/*.txt", "train/neg/*.txt")):
        load(write_tar({"data/train.csv": "text,label"}))

"""Read the raw IMDB release directly from its archive, without unpacking it into folders."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from research.data.sources.base import PathSource, Source, identify_files, register_data
from research.data.sources.imdb import RAW_SPLITS, ReviewFiles, extract_review_path
from research.data.sources.tables import check_file
from research.data.sources.text_format import TextFormat

_Stream = gzip.GzipFile | io.BufferedReader
ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar")


@register_data("aclimdb_archive")
class ReleaseArchive(PathSource):
    """The archive of the raw IMDB release, as downloaded."""

    precedence = 63
    expected = f"an aclImdb archive ({ARCHIVE_SUFFIXES[0]})"

    def find_at(self, path: Path, text_format: TextFormat) -> Source | None:
        if path.is_dir() or not path.name.lower().endswith(ARCHIVE_SUFFIXES):
            return None
        check_file(path, path.name)
        return Source(path.name, identify_files([path]), lambda scratch: _open_splits(path, scratch))


def _open_splits(path: Path, scratch: Path) -> dict[str, list[ReviewFiles]]:
    return {split: [table] for split, table in open_archive(path, scratch).items()}


def open_archive(path: Path, scratch: Path) -> dict[str, ReviewFiles]:
    """Return the reviews of each split of an archive.

    The texts are first copied into one file in `scratch`, because rows are read in a different order from the archive's
    members, and a compressed archive can only be read sequentially. No member's name is ever used as a path on disk.

    Args:
        path: the archive.
        scratch: existing directory for the copied texts.
    Raises:
        ValueError: if a member's path is absolute or contains `..`, a member is neither a file nor a folder, the
            archive is damaged, or it does not have the aclImdb layout.
    """
    spool = scratch / "reviews"
    locations: dict[str, tuple[int, int]] = {}
    try:
        with _open(path) as stream, tarfile.open(fileobj=stream, mode="r|") as archive, spool.open("wb") as file:
            for member in archive:
                _check_member(member, path.name)
                review = extract_review_path(member.name)
                content = archive.extractfile(member) if review and member.isfile() else None
                if review is not None and content is not None:
                    offset = file.tell()
                    locations[review] = (offset, file.write(content.read()))
            _check_end(archive, stream)
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path.name} is not a readable tar archive: {error}") from error
    if not any(review.startswith("train/") for review in locations):
        raise ValueError(f"{path.name} has no train/pos/*.txt and train/neg/*.txt; expected the aclImdb layout.")
    read = _create_reader(spool)
    return {
        split: ReviewFiles(f"{path.name}: {split}", reviews, read)
        for split in RAW_SPLITS
        if (reviews := [(review, location) for review, location in locations.items() if review.startswith(f"{split}/")])
    }


def _open(path: Path) -> _Stream:
    """Open an archive as a stream of decompressed bytes, whether or not it is compressed with gzip."""
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if compressed else path.open("rb")


def _check_end(archive: tarfile.TarFile, stream: _Stream) -> None:
    """Raise EOFError if the archive is truncated. tarfile itself does not notice a missing end."""
    while stream.read(2**20):  # gzip checks for truncation when its end is reached
        pass
    if archive.offset + tarfile.BLOCKSIZE > stream.tell():  # an empty block must follow the last member
        raise EOFError("it is truncated")


def _check_member(member: tarfile.TarInfo, archive: str) -> None:
    """Raise ValueError unless a member is a file or folder whose path is relative and without `..`."""
    path = PurePosixPath(member.name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(
            f"{archive} has a member with an absolute path or '..' in its path: '{member.name}'. Nothing was read."
        )
    if not (member.isfile() or member.isdir()):
        raise ValueError(
            f"{archive} has a member that is neither a file nor a folder: '{member.name}'. Nothing was read."
        )


def _create_reader(spool: Path) -> Callable[[tuple[int, int]], bytes]:
    """Return a function that reads the text at a location in the file `spool`, given as offset and number of bytes."""

    def read(location: tuple[int, int]) -> bytes:
        offset, num_bytes = location
        with spool.open("rb") as file:
            file.seek(offset)
            return file.read(num_bytes)

    return read

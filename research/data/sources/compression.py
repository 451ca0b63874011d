"""Open text files as bytes, and decompress those with a compression extension, such as .gz."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

import pyarrow as pa

from research.data.sources.reading import describe_briefly
from research.data.sources.tables import check_file

NOT_DATA = (".py", ".sh", ".md", ".log", ".ipynb", ".yaml", ".yml")
"""Extensions of files that are often stored next to data files but contain no data."""
_DECOMPRESSION_ERRORS = (
    EOFError,
    OSError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    struct.error,
    UnicodeError,
    NotImplementedError,
    RuntimeError,
)
"""Errors that the decompressors raise for damaged files; pyarrow raises OSError."""
_BUFFER_SIZE = 2**17
"""Bytes of decompressed content that are buffered."""
_NUM_MAGIC_BYTES = 10
"""Number of bytes at the start of a file that identify its compression."""
_MAX_LISTED = 5
"""Maximum number of files in an archive that an error message lists."""


@dataclass(frozen=True)
class _Compression:
    """A compression format."""

    name: str
    """Name of the format in messages."""
    magic: re.Pattern[bytes]
    """Pattern that the first bytes of a file in this format match."""
    open: Callable[[Path], Any]
    """Function that returns a file object with the decompressed bytes."""


def _open_zip(path: Path) -> Any:
    """Return a file object with the content of the only data file in a zip archive."""
    member = _find_member(path)
    with zipfile.ZipFile(path) as archive:
        return archive.open(member)


_COMPRESSIONS = {
    ".gz": _Compression("gzip", re.compile(rb"\x1f\x8b"), gzip.open),
    ".bz2": _Compression("bzip2", re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"), bz2.open),
    ".xz": _Compression("xz", re.compile(rb"\xfd7zXZ\0"), lzma.open),
    # The second alternative matches a skippable frame, with which the output of parallel compressors begins.
    ".zst": _Compression(
        "zstd",
        re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"),
        lambda path: pa.CompressedInputStream(pa.OSFile(str(path), "rb"), "zstd"),
    ),
    ".zip": _Compression("zip", re.compile(rb"PK(\x03\x04|\x05\x06)"), _open_zip),
}


def is_compressed(path: PurePath) -> bool:
    """Return whether a file has a compression extension, such as .gz."""
    return path.suffix.lower() in _COMPRESSIONS


def strip_compression(path: PurePath) -> PurePath:
    """Return the path without its compression extension, if it has one."""
    return path.with_suffix("") if is_compressed(path) else path


def find_content_suffix(path: Path) -> str:
    """Return the extension that shows the type of a file's content, in lower case: `.csv` for reviews.CSV.gz.

    For a zip archive, this is the extension of the data file in it.

    Raises:
        ValueError: if the file is a zip archive that does not hold exactly one data file.
    """
    is_zip = path.suffix.lower() == ".zip"
    content_path: PurePath = PurePosixPath(_find_member(path).filename) if is_zip else strip_compression(path)
    return content_path.suffix.lower()


def open_bytes(path: Path) -> io.BufferedReader:
    """Open a file that may be compressed.

    Reading from the returned stream raises ValueError if the compressed content is damaged.

    Raises:
        ValueError: if the compression of the file does not match its extension.
    """
    expected = _COMPRESSIONS.get(path.suffix.lower())
    file = path.open("rb")
    detected = _detect(file)
    if expected is None and detected is None:
        return file
    file.close()
    if expected is None:
        assert detected is not None
        suffix = next(suffix for suffix, compression in _COMPRESSIONS.items() if compression is detected)
        raise ValueError(f"'{path}' is compressed with {detected.name}. Rename it to {path.name}{suffix}.")
    if detected is not expected:
        problem = f"it is compressed with {detected.name}" if detected else f"its content is not {expected.name}"
        raise ValueError(
            f"'{path}' has the extension '{path.suffix}', but {problem}. Rename it if the extension is wrong, or "
            "download it again if it is damaged."
        )
    content: Any = _Decompressed(path, expected)
    stream = io.BufferedReader(content, _BUFFER_SIZE)
    try:
        inner = _detect(stream)
    except ValueError:
        stream.close()
        raise
    if inner is not None:
        stream.close()
        raise ValueError(
            f"'{path}' is compressed twice: the {expected.name} file holds a {inner.name} file. Decompress it once."
        )
    return stream


def check_text(path: Path, name: str) -> None:
    """Raise ValueError if a file cannot be read, or is empty before or after decompression."""
    check_file(path, name)
    with open_bytes(path) as stream:
        if not stream.peek(1):
            raise ValueError(f"{name} is empty after decompression; expected at least one row.")


class _Decompressed(io.RawIOBase):
    """The decompressed content of a file. Reading raises ValueError if the file is damaged."""

    def __init__(self, path: Path, compression: _Compression) -> None:
        self._path = path
        self._compression = compression
        self._stream: Any = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            if self._stream is None:
                self._stream = self._compression.open(self._path)
            num_bytes: int = self._stream.readinto(buffer)
        except _DECOMPRESSION_ERRORS as error:
            raise ValueError(
                f"'{self._path}' is truncated or damaged and cannot be decompressed with {self._compression.name}: "
                f"{describe_briefly(error)}. Download it again."
            ) from error
        return num_bytes

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
        super().close()


def _detect(stream: io.BufferedReader) -> _Compression | None:
    """Return the compression of a stream's content, or None if it is not compressed."""
    start = stream.peek(_NUM_MAGIC_BYTES)
    return next((compression for compression in _COMPRESSIONS.values() if compression.magic.match(start)), None)


def _find_member(path: Path) -> zipfile.ZipInfo:
    """Return the only data file in a zip archive.

    Raises:
        ValueError: if the archive is damaged or encrypted, or does not hold exactly one data file.
    """
    check_file(path, path.name)
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if _is_data(member)]
    except _DECOMPRESSION_ERRORS as error:
        raise ValueError(
            f"'{path}' is not a readable zip archive: {describe_briefly(error)}. Download it again."
        ) from error
    if len(members) != 1:
        names = ", ".join(repr(member.filename) for member in members[:_MAX_LISTED])
        more = f" and {len(members) - _MAX_LISTED:,} more" if len(members) > _MAX_LISTED else ""
        listing = f"{names}{more}" if members else "none"
        raise ValueError(
            f"Expected one data file in '{path}'; found {listing}. Unpack it, and pass the file or folder as --data."
        )
    if members[0].flag_bits & 1:
        raise ValueError(f"'{path}' is password-protected. Unpack it first.")
    return members[0]


def _is_data(member: zipfile.ZipInfo) -> bool:
    """Return whether a member of an archive is a data file, not a folder, a hidden file or documentation."""
    path = PurePosixPath(member.filename)
    if member.is_dir() or path.parts[:1] == ("__MACOSX",) or path.name.startswith("."):
        return False
    return path.suffix.lower() not in NOT_DATA and path.stem.lower() not in ("readme", "license")

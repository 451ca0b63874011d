"""Open text files as bytes, and decompress those whose names say that they are compressed."""

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

from research.data.sources.reading import describe
from research.data.sources.tables import check_file

NOT_DATA = (".py", ".sh", ".md", ".log", ".ipynb", ".yaml", ".yml")
"""Endings of files that lie beside data."""
_DAMAGE = (
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
"""What the decompressors raise; pyarrow raises an OSError."""
_BUFFER = 2**17
_NUM_START = 10
"""Bytes that tell how a file is compressed."""
_NUM_NAMED = 5


@dataclass(frozen=True)
class _Compression:
    """One way to compress a file."""

    name: str
    """What messages call it."""
    start: re.Pattern[bytes]
    """How its files begin."""
    open: Callable[[Path], Any]
    """Returns a file object with the decompressed bytes."""


def _open_zip(path: Path) -> Any:
    member = _find_member(path)
    with zipfile.ZipFile(path) as archive:
        return archive.open(member)


_COMPRESSIONS = {
    ".gz": _Compression("gzip", re.compile(rb"\x1f\x8b"), gzip.open),
    ".bz2": _Compression("bzip2", re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"), bz2.open),
    ".xz": _Compression("xz", re.compile(rb"\xfd7zXZ\0"), lzma.open),
    # The second form is a frame to skip, which parallel compressors begin with.
    ".zst": _Compression(
        "zstd",
        re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"),
        lambda path: pa.CompressedInputStream(pa.OSFile(str(path), "rb"), "zstd"),
    ),
    ".zip": _Compression("zip", re.compile(rb"PK(\x03\x04|\x05\x06)"), _open_zip),
}


def is_compressed(path: PurePath) -> bool:
    """Return whether the name of a file says that it is compressed."""
    return path.suffix.lower() in _COMPRESSIONS


def strip_compression(path: PurePath) -> PurePath:
    """Return the path without the ending that says how the file is compressed."""
    return path.with_suffix("") if is_compressed(path) else path


def find_type(path: Path) -> str:
    """Return the ending that says what a file holds, in lower case: `.csv` of reviews.CSV.gz.

    Of a zip archive it is the ending of the data file in it.

    Raises:
        ValueError: if it is a zip archive that does not hold exactly one data file.
    """
    is_zip = path.suffix.lower() == ".zip"
    named: PurePath = PurePosixPath(_find_member(path).filename) if is_zip else strip_compression(path)
    return named.suffix.lower()


def open_bytes(path: Path) -> io.BufferedReader:
    """Open a file that may be compressed.

    Raises:
        ValueError: if its content is not compressed as its name says. Reading raises it where the content is damaged.
    """
    named = _COMPRESSIONS.get(path.suffix.lower())
    plain = path.open("rb")
    found = _recognise(plain)
    if named is None and found is None:
        return plain
    plain.close()
    if named is None:
        assert found is not None
        ending = next(ending for ending, compression in _COMPRESSIONS.items() if compression is found)
        raise ValueError(f"'{path}' is compressed with {found.name}: rename it to {path.name}{ending}.")
    if found is not named:
        but = f"it is compressed with {found.name}" if found else f"its content is not {named.name}"
        raise ValueError(
            f"'{path}' ends in '{path.suffix}', but {but}. Rename it if its ending is wrong, or get it again if "
            "it is damaged."
        )
    content: Any = _Decompressed(path, named)
    stream = io.BufferedReader(content, _BUFFER)
    try:
        inner = _recognise(stream)
    except ValueError:
        stream.close()
        raise
    if inner is not None:
        stream.close()
        raise ValueError(
            f"'{path}' is compressed twice: there is {inner.name} in the {named.name} file. Decompress it once."
        )
    return stream


def check_text(path: Path, name: str) -> None:
    """Raise ValueError unless `path` is a readable file with something in it once it is decompressed."""
    check_file(path, name)
    with open_bytes(path) as stream:
        if not stream.peek(1):
            raise ValueError(f"{name} is empty once it is decompressed; expected rows with a text and a label.")


class _Decompressed(io.RawIOBase):
    """The content of a compressed file; damage is a ValueError that names the file."""

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
        except _DAMAGE as error:
            raise ValueError(
                f"'{self._path}' is cut off or damaged, and cannot be decompressed with {self._compression.name}: "
                f"{describe(error)}. Get it again."
            ) from error
        return num_bytes

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
        super().close()


def _recognise(stream: io.BufferedReader) -> _Compression | None:
    start = stream.peek(_NUM_START)
    return next((known for known in _COMPRESSIONS.values() if known.start.match(start)), None)


def _find_member(path: Path) -> zipfile.ZipInfo:
    """Return the one data file of a zip archive."""
    check_file(path, path.name)
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if _is_data(member)]
    except _DAMAGE as error:
        raise ValueError(f"'{path}' is not a readable zip archive: {describe(error)}. Get it again.") from error
    if len(members) != 1:
        names = ", ".join(repr(member.filename) for member in members[:_NUM_NAMED])
        more = f" and {len(members) - _NUM_NAMED:,} more" if len(members) > _NUM_NAMED else ""
        found = f"{names}{more}" if members else "none"
        raise ValueError(f"Expected one data file in '{path}'; found {found}. Unpack it, and give the file or folder.")
    if members[0].flag_bits & 1:
        raise ValueError(f"'{path}' is protected with a password. Unpack it first.")
    return members[0]


def _is_data(member: zipfile.ZipInfo) -> bool:
    path = PurePosixPath(member.filename)
    if member.is_dir() or path.parts[:1] == ("__MACOSX",) or path.name.startswith("."):
        return False
    return path.suffix.lower() not in NOT_DATA and path.stem.lower() not in ("readme", "license")

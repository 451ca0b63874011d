"""Footers of parquet files, which describe the rows of a file."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import BinaryIO

_NUM_LAST_BYTES = 8
"""A file ends with the length of its footer in 4 bytes, and 4 bytes that mark a parquet file."""


@dataclass(frozen=True)
class Footer:
    """The rows of a parquet file, as its footer describes them."""

    num_rows: tuple[int, ...]
    """Number of rows of each row group."""
    sha256: str
    """Hash of the file's size and footer. The footer contains the position, the size and usually the smallest and
    largest value of each column in each row group, so that nearly every change of the rows changes the hash."""


def hash_footer(file: BinaryIO) -> str:
    """Return the hash of a parquet file's size and footer."""
    size = file.seek(0, os.SEEK_END)
    file.seek(size - _NUM_LAST_BYTES)
    footer_size = int.from_bytes(file.read(4), "little") + _NUM_LAST_BYTES
    file.seek(size - footer_size)
    return hashlib.sha256(f"{size} ".encode() + file.read(footer_size)).hexdigest()

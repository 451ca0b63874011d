"""Hidden states of a split on disk: token after token without padding, memory-mapped, written once.

One file per layer, [num_tokens, hidden], raw; the rows lie from the longest to the shortest, as they were computed.
Beside them a manifest with sizes and hashes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray
from torch import Tensor

from research.data.batches.order import RowIndices

FEATURES_FORMAT = 1
"""Raise it by one whenever the same encoder and token ids give other files than before: code that lays out files,
orders rows or runs the encoder has changed. Hidden states that were stored under another number are not used."""
MANIFEST = "manifest.json"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
Lengths = NDArray[np.int64]

_verified: set[tuple[Path, str]] = set()
"""Folders whose files this process has compared with their hashes, and the hash of the manifest that it had then."""


class DamageError(ValueError):
    """Stored hidden states that are not what was written."""


@dataclass(frozen=True)
class Layer:
    """The hidden states of one layer."""

    name: str
    """Of the file."""
    width: int
    """Of a hidden state."""
    stored: str
    """Numbers in the file: float32, bfloat16 or float16."""
    given: str
    """Numbers that the encoder gave, and a head gets."""

    def num_bytes(self, num_tokens: int) -> int:
        """Return how long the file is."""
        return num_tokens * self.width * DTYPES[self.stored].itemsize


@dataclass(frozen=True)
class RowLayout:
    """Where the tokens of each row are in a file."""

    order: RowIndices
    """Rows as they follow each other, [num_rows]."""
    starts: Lengths
    """First token of each row, [num_rows]."""
    lengths: Lengths
    """Tokens of each row, special ones included, [num_rows]."""

    @classmethod
    def of(cls, lengths: NDArray[np.int32], max_length: int) -> RowLayout:
        """Return the places of a split's rows.

        Args:
            lengths: untruncated length of every row, in tokens, [num_rows].
            max_length: longest row after truncation.
        """
        order = np.argsort(-lengths, kind="stable")  # as in an evaluation, whose batches are padded alike
        kept = np.minimum(lengths.astype(np.int64), max_length)
        starts = np.empty_like(kept)
        starts[order] = np.cumsum(kept[order]) - kept[order]
        return cls(order, starts, kept)

    @property
    def num_tokens(self) -> int:
        """Tokens of all rows."""
        return int(self.lengths.sum())


def write_features(folder: Path, layers: Sequence[Layer], batches: Iterable[Sequence[Tensor]]) -> None:
    """Write all files of a split.

    Args:
        folder: where; it is empty.
        layers: what is stored.
        batches: for each layer the hidden states of some rows' tokens, [tokens, hidden]; in the order of the rows.
    Raises:
        OSError: if the disk is full, or cannot be written to.
    """
    hashes = [xxhash.xxh3_128() for _ in layers]
    num_tokens = 0
    with ExitStack() as stack:
        files = [stack.enter_context((folder / layer.name).open("wb")) for layer in layers]
        for batch in batches:
            num_tokens += len(batch[0])
            for layer, file, digest, states in zip(layers, files, hashes, batch, strict=True):
                numbers = states.to(DTYPES[layer.stored]).cpu().contiguous().reshape(-1)
                data = numbers.view(torch.uint8).numpy().data
                file.write(data)  # never through a mapping: a full disk would be a signal instead of an error
                digest.update(data)
    content = {
        "format": FEATURES_FORMAT,
        "num_tokens": num_tokens,
        "layers": [asdict(layer) for layer in layers],
        "xxh3_128": [digest.hexdigest() for digest in hashes],
    }
    text = json.dumps({"sha256": _hash_content(content), "content": content}, indent=2)
    (folder / MANIFEST).write_text(text, encoding="utf-8")


class FeatureStore:
    """The stored hidden states of a split.

    Args:
        folder: what `write_features` wrote.
        places: where its rows are.
    Raises:
        DamageError: if any of it is not what was written; found out when a process opens it for the first time.
    """

    def __init__(self, folder: Path, places: RowLayout) -> None:
        content, self.digest = _read_manifest(folder)
        if content["num_tokens"] != places.num_tokens:
            raise DamageError(f"it has {content['num_tokens']:,} tokens instead of {places.num_tokens:,}")
        self.places = places
        self.last_hash: str = content["xxh3_128"][-1]
        """Hash of the last layer's file."""
        self.layers = [Layer(**facts) for facts in content["layers"]]
        for layer, expected in zip(self.layers, content["xxh3_128"], strict=True):
            _check_size(folder / layer.name, layer.num_bytes(places.num_tokens))
            if (folder, self.digest) not in _verified:
                _check_hash(folder / layer.name, expected)
        _verified.add((folder, self.digest))
        self._states = [_map(folder / layer.name, layer, places.num_tokens) for layer in self.layers]

    @property
    def has_all_layers(self) -> bool:
        """Whether there are the hidden states of all layers, or only of the last."""
        return len(self.layers) > 1

    def batch(self, rows: RowIndices, attention_mask: Tensor, *, all_layers: bool) -> Tensor | tuple[Tensor, ...]:
        """Return the hidden states of some rows, 0 where there is padding.

        Args:
            rows: numbers of the rows, [batch].
            attention_mask: 1 = token, 0 = padding, [batch, seq].
            all_layers: whether those of all layers are wanted, or only of the last.
        Returns:
            [batch, seq, hidden], or a tuple of such.
        """
        lengths = self.places.lengths[rows]
        assert np.array_equal(attention_mask.sum(dim=1).numpy(), lengths), "rows have another length than stored"
        starts = self.places.starts[rows]
        firsts = attention_mask.argmax(dim=1).numpy()
        ends, lasts = starts + lengths, firsts + lengths

        def padded(layer: Layer, states: NDArray[np.uint8]) -> Tensor:
            batch = torch.empty(*attention_mask.shape, layer.width, dtype=DTYPES[layer.stored])
            # Copied by numpy, as bytes: torch would share out every row among all threads, and wait for the slowest.
            rows_of_bytes = batch.view(torch.uint8).numpy()
            for row, start, end, first, last in zip(rows_of_bytes, starts, ends, firsts, lasts, strict=True):
                row[:first] = 0
                row[first:last] = states[start:end]
                row[last:] = 0
            return batch.to(DTYPES[layer.given])

        if not all_layers:
            return padded(self.layers[-1], self._states[-1])
        assert self.has_all_layers
        return tuple(map(padded, self.layers, self._states))


def _read_manifest(folder: Path) -> tuple[dict[str, Any], str]:
    """Return what a manifest says, and its hash.

    Raises:
        DamageError: if it is not what was written.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        content, expected = manifest["content"], manifest["sha256"]
    except OSError as error:
        raise DamageError(f"its manifest cannot be read ({error.strerror})") from error
    except (ValueError, LookupError, TypeError) as error:
        raise DamageError("its manifest is damaged") from error
    if _hash_content(content) != expected:
        raise DamageError("its manifest is damaged")
    return content, expected


def _hash_content(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _check_size(file: Path, num_bytes: int) -> None:
    if not file.is_file() or file.is_symlink():
        raise DamageError(f"{file.name} is missing")
    if file.stat().st_size != num_bytes:
        raise DamageError(f"{file.name} has {file.stat().st_size:,} bytes instead of {num_bytes:,}")


def _check_hash(file: Path, expected: str) -> None:
    try:
        found = _hash_file(file)
    except OSError as error:
        raise DamageError(f"{file.name} cannot be read ({error.strerror})") from error
    if found != expected:
        raise DamageError(f"{file.name} is not what was written")


def _hash_file(file: Path) -> str:
    """Return the hash of a file.

    XXH3 finds what disks and kills do to files as surely as SHA-256 does, and keeps up with any disk: 30 GB/s in memory
    on one core of a Xeon with SHA instructions, where SHA-256 comes to 2. Neither keeps anybody from forging an entry,
    since the hash lies beside the file.
    """
    digest = xxhash.xxh3_128()
    with file.open("rb") as stream:
        while chunk := stream.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()


def _map(file: Path, layer: Layer, num_tokens: int) -> NDArray[np.uint8]:
    """Return a file's bytes, [num_tokens, width x bytes of a number]."""
    num_bytes = layer.num_bytes(num_tokens)
    if num_bytes == 0:  # which cannot be mapped
        return np.empty((0, 0), dtype=np.uint8)
    return np.memmap(file, dtype=np.uint8, mode="r").reshape(num_tokens, -1)

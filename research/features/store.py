"""Hidden states of a split on disk, without padding: written once, then memory-mapped.

Each layer is one raw file, [num_tokens, hidden]. Rows are ordered from the longest to the shortest, as they were
computed. A manifest in the same folder contains sizes and hashes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray
from torch import Tensor

from research.data.batches.order import RowIndices
from research.data.prepare.cache_entries import MANIFEST, Lease

FEATURES_FORMAT = 1
"""Increase this number whenever the same encoder and token ids give different files, because the code that lays out
files, orders rows, runs the encoder or pools has changed. Hidden states stored with a different number are not used."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
Lengths = NDArray[np.int64]

_verified: set[tuple[Path, str]] = set()
"""Folders whose files this process has compared with their hashes, each with the hash of its manifest at the time."""


class DamageError(ValueError):
    """Stored hidden states are damaged."""


@dataclass(frozen=True)
class Layer:
    """The hidden states of one layer."""

    name: str
    """Name of the file."""
    width: int
    """Size of a hidden state."""
    stored: str
    """Type of the numbers in the file: float32, bfloat16 or float16."""
    given: str
    """Type of the numbers that the encoder computed and that the head receives."""

    def num_bytes(self, num_tokens: int) -> int:
        """Return the size of the file in bytes."""
        return num_tokens * self.width * DTYPES[self.stored].itemsize


@dataclass(frozen=True)
class RowLayout:
    """Position of each row's tokens in a file."""

    order: RowIndices
    """Rows in the order in which they are stored, [num_rows]."""
    starts: Lengths
    """Position of each row's first token, [num_rows]."""
    lengths: Lengths
    """Number of tokens of each row, special tokens included, [num_rows]."""

    @classmethod
    def of(cls, lengths: NDArray[np.int32], max_length: int) -> RowLayout:
        """Return the layout of a split.

        Args:
            lengths: untruncated length of every row, in tokens, [num_rows].
            max_length: length to which rows are truncated, in tokens.
        """
        order = np.argsort(-lengths, kind="stable")  # as in evaluations, whose batches then have the same padding
        truncated = np.minimum(lengths.astype(np.int64), max_length)
        starts = np.empty_like(truncated)
        starts[order] = np.cumsum(truncated[order]) - truncated[order]
        return cls(order, starts, truncated)

    @property
    def num_tokens(self) -> int:
        """Number of tokens of all rows."""
        return int(self.lengths.sum())


def write_features(
    folder: Path,
    layers: Sequence[Layer],
    batches: Iterable[Sequence[Tensor]],
    about: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Write all files of a split.

    Args:
        folder: an empty folder.
        layers: the layers to store.
        batches: all rows in the layout's order, as batches. Each batch has one tensor per layer: the hidden states of
            the batch's tokens, without padding, [tokens, hidden].
        about: what the list of the cache's entries shows, see `CacheEntry.about`.
    Raises:
        OSError: if the disk is full or cannot be written to.
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
                file.write(data)  # not through a memory map, for which a full disk raises a signal instead of an error
                digest.update(data)
    content = {
        "format": FEATURES_FORMAT,
        "num_tokens": num_tokens,
        "layers": [asdict(layer) for layer in layers],
        "xxh3_128": [digest.hexdigest() for digest in hashes],
    }
    text = json.dumps({"sha256": _hash_content(content), "content": content, "about": dict(about)}, indent=2)
    (folder / MANIFEST).write_text(text, encoding="utf-8")


class FeatureStore:
    """The stored hidden states of a split.

    Args:
        folder: folder written by `write_features`.
        layout: position of each row in the files.
        lease: keeps the folder from being removed from the cache while the object exists.
    Raises:
        DamageError: if a file is damaged. Hashes are compared when a process opens the folder for the first time.
    """

    def __init__(self, folder: Path, layout: RowLayout, lease: Lease | None = None) -> None:
        self._lease = lease
        self.folder = folder
        content, self.manifest_hash = _read_manifest(folder)
        if content["num_tokens"] != layout.num_tokens:
            raise DamageError(f"it has {content['num_tokens']:,} tokens instead of {layout.num_tokens:,}")
        self.layout = layout
        self.last_hash: str = content["xxh3_128"][-1]
        """Hash of the last layer's file."""
        self.layers = [Layer(**fields) for fields in content["layers"]]
        for layer, expected in zip(self.layers, content["xxh3_128"], strict=True):
            _check_size(folder / layer.name, layer.num_bytes(layout.num_tokens))
            if (folder, self.manifest_hash) not in _verified:
                _check_hash(folder / layer.name, expected)
        _verified.add((folder, self.manifest_hash))
        self._states = [_memory_map(folder / layer.name, layer, layout.num_tokens) for layer in self.layers]

    @property
    def has_all_layers(self) -> bool:
        """Whether the hidden states of all layers are stored, not only those of the last."""
        return len(self.layers) > 1

    def check_lengths(self, rows: RowIndices, attention_mask: Tensor) -> None:
        """Check that rows have as many tokens as they are stored with."""
        lengths = self.layout.lengths[rows]
        assert np.array_equal(attention_mask.sum(dim=1).numpy(), lengths), "lengths of rows differ from the stored ones"

    def read_batch(self, rows: RowIndices, attention_mask: Tensor, *, all_layers: bool) -> Tensor | tuple[Tensor, ...]:
        """Return the hidden states of some rows; those of padding are 0.

        Args:
            rows: indices of the rows, [batch].
            attention_mask: 1 = token, 0 = padding, [batch, seq].
            all_layers: whether to return all layers or only the last.
        Returns:
            Hidden states, [batch, seq, hidden]; a tuple with one tensor per layer for all layers.
        """
        lengths = self.layout.lengths[rows]
        self.check_lengths(rows, attention_mask)
        starts = self.layout.starts[rows]
        ends = starts + lengths
        batch_starts = attention_mask.argmax(dim=1).numpy()  # position of each row's first token in the batch
        batch_ends = batch_starts + lengths

        def pad(layer: Layer, states: NDArray[np.uint8]) -> Tensor:
            batch = torch.empty(*attention_mask.shape, layer.width, dtype=DTYPES[layer.stored])
            # Copied as bytes by numpy: torch would split every row among all threads and wait for the slowest.
            rows_of_bytes = batch.view(torch.uint8).numpy()
            for row, start, end, batch_start, batch_end in zip(
                rows_of_bytes, starts, ends, batch_starts, batch_ends, strict=True
            ):
                row[:batch_start] = 0
                row[batch_start:batch_end] = states[start:end]
                row[batch_end:] = 0
            return batch.to(DTYPES[layer.given])

        if not all_layers:
            return pad(self.layers[-1], self._states[-1])
        assert self.has_all_layers
        return tuple(map(pad, self.layers, self._states))


def _read_manifest(folder: Path) -> tuple[dict[str, Any], str]:
    """Return the content of a manifest and its hash.

    Raises:
        DamageError: if the manifest is damaged.
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
        actual = _hash_file(file)
    except OSError as error:
        raise DamageError(f"{file.name} cannot be read ({error.strerror})") from error
    if actual != expected:
        raise DamageError(f"{file.name} does not match its hash")


def _hash_file(file: Path) -> str:
    """Return the hash of a file.

    XXH3 detects damage from disks and killed processes as reliably as SHA-256, and is faster than any disk: 30 GB/s in
    memory on one core of a Xeon with SHA instructions, compared with 2 GB/s for SHA-256. Neither protects against
    forgery, since the hash is stored next to the file.
    """
    digest = xxhash.xxh3_128()
    with file.open("rb") as stream:
        while chunk := stream.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()


def _memory_map(file: Path, layer: Layer, num_tokens: int) -> NDArray[np.uint8]:
    """Return a file's bytes as an array, [num_tokens, width x bytes per number], without reading the whole file."""
    num_bytes = layer.num_bytes(num_tokens)
    if num_bytes == 0:  # empty files cannot be mapped
        return np.empty((0, 0), dtype=np.uint8)
    return np.memmap(file, dtype=np.uint8, mode="r").reshape(num_tokens, -1)

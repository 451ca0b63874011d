"""Pooled hidden states of a split: computed once from its stored hidden states, and stored in the same folder.

A head that starts with a pooling reads only one vector per row and layer from them, instead of one per token.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from heads.masking import POOLINGS
from research.data.prepare.cache_entries import evict_least_used
from research.features.cache import Layers, find_or_build
from research.features.store import FeatureStore, Layer, RowLayout, write_features
from research.system import durable

ROWS_AT_ONCE = 32
"""Number of rows that are pooled at once."""


def find_or_pool(store: FeatureStore, pooling: str, layers: Layers) -> FeatureStore:
    """Return the pooled hidden states of a split, in which each row is a single token. They are computed if necessary.

    Args:
        store: the hidden states of all tokens.
        pooling: name of a pooling in `POOLINGS`.
        layers: the layers to pool.
    Raises:
        StorageError: if the disk is full or cannot be written to.
        DamageError: if the written files cannot be read back.
    """
    order = store.layout.order
    layout = RowLayout(order, starts=np.argsort(order), lengths=np.ones_like(order))
    descriptions = [
        Layer(layer.name, layer.width, stored=layer.given, given=layer.given)
        for layer in (store.layers if layers == "all" else store.layers[-1:])
    ]
    needed = sum(layer.num_bytes(layout.num_tokens) for layer in descriptions)

    def build(target: Path) -> None:
        durable.check_space(target, needed=needed)
        write_features(target, descriptions, _pool(store, pooling, layers))
        evict_least_used(store.folder.parent)

    with durable.converting_write_errors(store.folder, needed=needed):
        return find_or_build(store.folder, pooling, layers, layout, build)


def _pool(store: FeatureStore, pooling: str, layers: Layers) -> Iterator[tuple[Tensor, ...]]:
    """Yield the pooled hidden states of some rows at a time, [rows, hidden] for each layer."""
    order = store.layout.order
    for start in range(0, len(order), ROWS_AT_ONCE):
        rows = order[start : start + ROWS_AT_ONCE]
        lengths = torch.from_numpy(store.layout.lengths[rows])
        mask = (torch.arange(max(1, int(lengths.max()))) < lengths.unsqueeze(1)).long()  # [rows, seq]
        states = store.read_batch(rows, mask, all_layers=layers == "all")
        yield tuple(POOLINGS[pooling](layer, mask) for layer in (states if isinstance(states, tuple) else (states,)))
